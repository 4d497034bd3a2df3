/* SPDX-License-Identifier: MIT
 *
 * A 16550A: names and bits are the PC16550D data sheet's. It differs in having no
 * speed. A byte received is there at once, so data below the FIFO's trigger level
 * is signalled at once as well, as the time-out it would come to. A byte sent
 * leaves as soon as the other end takes it, and until then the transmitter is
 * not empty: that is all the flow control there is, and it suffices.
 *
 * Four sources want the interrupt line, in order of priority: an overrun,
 * received data, the transmitter run empty, a change of the modem's lines. OUT2
 * gates the line, as on every PC; that bit counts as it was written, in loopback
 * too, so that software can try its interrupts there.
 */
#include "config.h"

#include "uart.h"

#include <string.h>

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED 0x01
#define IER_EMPTY 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IIR_MODEM 0x00
#define IIR_NONE 0x01
#define IIR_EMPTY 0x02
#define IIR_RECEIVED 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define FCR_KEPT 0xc9 /* trigger level, DMA mode, enable; the others clear themselves */
#define LCR_DLAB 0x80
#define MCR_KEPT 0x1f
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x60	   /* holding register and transmitter */
#define MSR_CONNECTED 0xb0 /* DCD, DSR, CTS: a cable is plugged in */
#define MSR_RING 0x40
#define MSR_RING_ENDED 0x04
#define DIVISOR_9600 12

void uart_init(struct uart *d)
{
	memset(d, 0, sizeof(*d));
	d->divisor = DIVISOR_9600;
}

/* ---- the receiver ---- */

static bool has_fifos(const struct uart *d)
{
	return d->fcr & FCR_ENABLE;
}

static bool loops(const struct uart *d)
{
	return d->mcr & MCR_LOOP;
}

static unsigned free_places(const struct uart *d)
{
	unsigned places = has_fifos(d) ? UART_FIFO : 1;

	return d->used < places ? places - d->used : 0;
}

unsigned uart_room(const struct uart *d)
{
	return loops(d) ? 0 : free_places(d);
}

void uart_receive(struct uart *d, uint8_t byte)
{
	if (free_places(d) > 0) {
		d->fifo[(d->head + d->used++) % UART_FIFO] = byte;
		return;
	}
	d->lsr_errors |= LSR_OVERRUN;
	/* A full FIFO keeps what it has; the single register does not. */
	if (!has_fifos(d))
		d->fifo[d->head] = byte;
}

static uint8_t take_received(struct uart *d)
{
	uint8_t byte = d->fifo[d->head];

	if (d->used == 0)
		return 0;
	d->head = (d->head + 1) % UART_FIFO;
	d->used--;
	return byte;
}

static unsigned trigger_level(const struct uart *d)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return has_fifos(d) ? levels[d->fcr >> 6] : 1;
}

/* ---- the transmitter ---- */

static void transmit(struct uart *d, uint8_t byte)
{
	if (loops(d)) {
		uart_receive(d, byte);
		d->thre_pending = d->out_used == 0;
		return;
	}
	d->thre_pending = false;
	/* Beyond that the guest has not asked whether there is room. */
	if (d->out_used < UART_UNDER_WAY)
		d->out[d->out_used++] = byte;
}

void uart_sent(struct uart *d, unsigned n)
{
	d->out_used -= n;
	memmove(d->out, d->out + n, d->out_used);
	if (n > 0 && d->out_used == 0)
		d->thre_pending = true;
}

/* ---- modem control ---- */

/* In loopback the inputs follow the outputs: DTR to DSR, RTS to CTS, OUT1 to RI,
 * OUT2 to DCD. */
static uint8_t modem_lines(const struct uart *d)
{
	if (!loops(d))
		return MSR_CONNECTED;
	return (uint8_t)((d->mcr & 0x01) << 5 | (d->mcr & 0x02) << 3 | (d->mcr & 0x0c) << 4);
}

static void write_mcr(struct uart *d, uint8_t value)
{
	uint8_t before = modem_lines(d), changed;

	d->mcr = value & MCR_KEPT;
	changed = before ^ modem_lines(d);
	/* The delta bits lie four below their lines; that of RI tells only its end. */
	d->msr_delta |= (uint8_t)((changed & ~MSR_RING) >> 4);
	if (changed & before & MSR_RING)
		d->msr_delta |= MSR_RING_ENDED;
}

/* ---- interrupts ---- */

static uint8_t pending(const struct uart *d)
{
	if ((d->ier & IER_LINE) && d->lsr_errors != 0)
		return IIR_LINE;
	if ((d->ier & IER_RECEIVED) && d->used > 0)
		return d->used >= trigger_level(d) ? IIR_RECEIVED : IIR_TIMEOUT;
	if ((d->ier & IER_EMPTY) && d->thre_pending)
		return IIR_EMPTY;
	if ((d->ier & IER_MODEM) && d->msr_delta != 0)
		return IIR_MODEM;
	return IIR_NONE;
}

bool uart_line(const struct uart *d)
{
	return (d->mcr & MCR_OUT2) && pending(d) != IIR_NONE;
}

static uint8_t read_iir(struct uart *d)
{
	uint8_t source = pending(d);

	/* Being told is what this source waits for; the others want to be served. */
	if (source == IIR_EMPTY)
		d->thre_pending = false;
	return source | (has_fifos(d) ? IIR_FIFOS : 0);
}

static void write_ier(struct uart *d, uint8_t value)
{
	/* Enabling it while the transmitter is empty tells once more. */
	if ((value & ~d->ier & IER_EMPTY) && d->out_used == 0)
		d->thre_pending = true;
	d->ier = value & 0x0f;
}

/* ---- the registers ---- */

static uint8_t read_lsr(struct uart *d)
{
	uint8_t value = d->lsr_errors;

	d->lsr_errors = 0;
	if (d->used > 0)
		value |= LSR_DATA;
	return d->out_used == 0 ? value | LSR_EMPTY : value;
}

static uint8_t read_msr(struct uart *d)
{
	uint8_t value = modem_lines(d) | d->msr_delta;

	d->msr_delta = 0;
	return value;
}

/* Clearing the transmitter's FIFO leaves alone what is under way: those bytes are
 * on the line already, and Linux clears it whenever it opens the port. */
static void write_fcr(struct uart *d, uint8_t value)
{
	if ((value & FCR_CLEAR_RECEIVER) || ((d->fcr ^ value) & FCR_ENABLE))
		d->head = d->used = 0;
	/* The other bits are only taken together with this one. */
	d->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

uint8_t uart_read(struct uart *d, unsigned reg)
{
	switch (reg) {
	case RBR_THR:
		return d->lcr & LCR_DLAB ? d->divisor & 0xff : take_received(d);
	case IER:
		return d->lcr & LCR_DLAB ? d->divisor >> 8 : d->ier;
	case IIR_FCR:
		return read_iir(d);
	case LCR:
		return d->lcr;
	case MCR:
		return d->mcr;
	case LSR:
		return read_lsr(d);
	case MSR:
		return read_msr(d);
	default:
		return d->scr;
	}
}

static void write_divisor(struct uart *d, unsigned reg, uint8_t value)
{
	if (reg == RBR_THR)
		d->divisor = (uint16_t)((d->divisor & 0xff00) | value);
	else
		d->divisor = (uint16_t)((d->divisor & 0x00ff) | value << 8);
}

void uart_write(struct uart *d, unsigned reg, uint8_t value)
{
	if ((d->lcr & LCR_DLAB) && reg <= IER) {
		write_divisor(d, reg, value);
		return;
	}
	switch (reg) {
	case RBR_THR:
		transmit(d, value);
		break;
	case IER:
		write_ier(d, value);
		break;
	case IIR_FCR:
		write_fcr(d, value);
		break;
	case LCR:
		d->lcr = value;
		break;
	case MCR:
		write_mcr(d, value);
		break;
	case SCR:
		d->scr = value;
		break;
	}
}
