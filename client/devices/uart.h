/* SPDX-License-Identifier: MIT
 *
 * The registers of a 16550A and what follows from them, apart from where bytes
 * go to and come from: that is console.c's. Pure; one thread.
 */
#ifndef KVMCPU_UART_H
#define KVMCPU_UART_H

#include <stdbool.h>
#include <stdint.h>

#define UART_FIFO 16
/* A guest that keeps to the rules has a FIFO of bytes under way at most; one that
 * writes by string instructions may have more. */
#define UART_UNDER_WAY 1024

struct uart {
	uint16_t divisor;
	uint8_t ier, fcr, lcr, mcr, scr, msr_delta;
	uint8_t lsr_errors;
	bool thre_pending; /* the transmitter ran empty and nobody has been told */
	uint8_t fifo[UART_FIFO];
	unsigned head, used;
	uint8_t out[UART_UNDER_WAY]; /* written by the guest, oldest first */
	unsigned out_used;
};

/* As after a hardware reset. */
void uart_init(struct uart *d);

/* reg is the port's offset, 0 to 7. */
uint8_t uart_read(struct uart *d, unsigned reg);
void uart_write(struct uart *d, unsigned reg, uint8_t value);

/* Whether the interrupt line is high: an interrupt is pending and OUT2 lets it
 * through. */
bool uart_line(const struct uart *d);

/* How many bytes the receiver has room for; 0 in loopback. */
unsigned uart_room(const struct uart *d);
/* Receives one; only where there is room. */
void uart_receive(struct uart *d, uint8_t byte);

/* The first n bytes of out have left. */
void uart_sent(struct uart *d, unsigned n);

#endif
