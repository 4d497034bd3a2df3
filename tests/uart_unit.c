/* SPDX-License-Identifier: MIT
 *
 * The 16550A's rules, as a table of accesses: what a driver does to the port and
 * what it must find. Each case begins with a port just reset.
 */
#include "config.h"

#include "uart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR, DLL = RBR, DLM = IER };

enum what { END, READ, WRITE, TYPED, SENT, HIGH, LOW, ROOM };

/* READ: the value found; WRITE: the value written; TYPED: a byte arrives; SENT: so
 * many bytes have left; ROOM: what the receiver has. */
struct step {
	enum what what;
	unsigned reg;
	unsigned value;
};

struct rule {
	const char *name;
	struct step steps[32];
};

#define R(reg, value)            \
	{                        \
		READ, reg, value \
	}
#define W(reg, value)             \
	{                         \
		WRITE, reg, value \
	}
#define IN(byte)               \
	{                      \
		TYPED, 0, byte \
	}
#define OUT(n)             \
	{                  \
		SENT, 0, n \
	}
#define LINE_HIGH          \
	{                  \
		HIGH, 0, 0 \
	}
#define LINE_LOW          \
	{                 \
		LOW, 0, 0 \
	}
#define PLACES(n)          \
	{                  \
		ROOM, 0, n \
	}

static const struct rule rules[] = {
    {"after reset",
     {R(IER, 0), R(IIR, 0x01), R(LCR, 0), R(MCR, 0), R(LSR, 0x60), R(MSR, 0xb0), R(SCR, 0),
      LINE_LOW, PLACES(1)}},
    {"registers keep the bits that they have",
     {W(IER, 0xff), R(IER, 0x0f), W(LCR, 0x7f), R(LCR, 0x7f), W(MCR, 0xff), R(MCR, 0x1f),
      W(SCR, 0xa5), R(SCR, 0xa5)}},
    {"line status and modem status are not written",
     {W(LSR, 0x9f), R(LSR, 0x60), W(MSR, 0x0f), R(MSR, 0xb0)}},
    {"the divisor hides behind DLAB",
     {R(RBR, 0), W(LCR, 0x83), R(DLL, 12), R(DLM, 0), W(DLL, 0x34), W(DLM, 0x12), R(DLL, 0x34),
      R(DLM, 0x12), W(LCR, 0x03), R(IER, 0), R(LSR, 0x60)}},
    {"FIFOs show in IIR only when enabled",
     {W(FCR, 0x01), R(IIR, 0xc1), W(FCR, 0x00), R(IIR, 0x01)}},
    {"trigger and enable are taken together or not at all",
     {W(FCR, 0xc0), R(IIR, 0x01), W(FCR, 0x01), W(IER, 0x01), IN('a'), R(IIR, 0xc4)}},
    {"the 16750's and the XR16's features are not there",
     {W(LCR, 0x80), W(FCR, 0x21), R(IIR, 0xc1), W(LCR, 0x00), W(IER, 0x40), R(IER, 0)}},

    {"OUT2 gates the line, not IIR",
     {W(IER, 0x01), IN('a'), LINE_LOW, R(IIR, 0x04), W(MCR, 0x08), LINE_HIGH, W(MCR, 0x07),
      LINE_LOW}},

    {"received data, without FIFOs",
     {W(MCR, 0x08), W(IER, 0x01), PLACES(1), IN('a'), PLACES(0), LINE_HIGH, R(IIR, 0x04), LINE_HIGH,
      R(LSR, 0x61), R(RBR, 'a'), LINE_LOW, R(IIR, 0x01), R(LSR, 0x60), PLACES(1)}},
    {"received data is told of when its interrupt is enabled later",
     {W(MCR, 0x08), IN('a'), LINE_LOW, W(IER, 0x01), LINE_HIGH, W(IER, 0x00), LINE_LOW}},
    {"data below the trigger level is a time-out, at it received",
     {W(MCR, 0x08), W(FCR, 0x41), W(IER, 0x01), IN(1), LINE_HIGH, R(IIR, 0xcc), IN(2), IN(3),
      R(IIR, 0xcc), IN(4), R(IIR, 0xc4), R(RBR, 1), R(IIR, 0xcc), R(RBR, 2), R(RBR, 3), LINE_HIGH,
      R(RBR, 4), LINE_LOW, R(IIR, 0xc1)}},
    {"the FIFO keeps the order and has sixteen places",
     {W(FCR, 0x01), PLACES(16), IN(1),	   IN(2),     IN(3),	   IN(4),     IN(5),
      IN(6),	    IN(7),	IN(8),	   IN(9),     IN(10),	   IN(11),    IN(12),
      IN(13),	    IN(14),	IN(15),	   PLACES(1), IN(16),	   PLACES(0), R(RBR, 1),
      PLACES(1),    IN(17),	R(RBR, 2), R(RBR, 3), R(LSR, 0x61)}},
    {"an empty receiver reads as nothing and stays empty",
     {W(FCR, 0x01), R(RBR, 0), PLACES(16), IN('a'), R(RBR, 'a'), R(RBR, 0), R(LSR, 0x60)}},
    {"clearing the receiver",
     {W(MCR, 0x08), W(FCR, 0x01), W(IER, 0x01), IN(1), IN(2), LINE_HIGH, W(FCR, 0x03), LINE_LOW,
      R(LSR, 0x60), R(IIR, 0xc1), IN(3), R(RBR, 3)}},
    {"switching the FIFOs clears them",
     {W(FCR, 0x01), IN(1), IN(2), W(FCR, 0x00), R(LSR, 0x60), IN(3), W(FCR, 0x01), R(LSR, 0x60)}},
    {"an enabled FIFO that is enabled again keeps its bytes",
     {W(FCR, 0x01), IN(1), W(FCR, 0x81), R(RBR, 1)}},

    {"enabling the transmitter's interrupt tells that it is empty",
     {W(MCR, 0x08), W(IER, 0x02), LINE_HIGH, R(IIR, 0x02), LINE_LOW, R(IIR, 0x01)}},
    {"enabling it again tells again, as drivers test",
     {W(MCR, 0x08), W(IER, 0x02), R(IIR, 0x02), W(IER, 0x00), W(IER, 0x02), LINE_HIGH,
      R(IIR, 0x02)}},
    {"enabling what is enabled tells nothing",
     {W(MCR, 0x08), W(IER, 0x02), R(IIR, 0x02), W(IER, 0x03), LINE_LOW, R(IIR, 0x01)}},
    {"disabling it takes the interrupt away",
     {W(MCR, 0x08), W(IER, 0x02), LINE_HIGH, W(IER, 0x00), LINE_LOW, R(IIR, 0x01)}},
    {"a byte under way: not empty, no interrupt; sent: both",
     {W(MCR, 0x08), W(IER, 0x02), R(IIR, 0x02), W(THR, 'x'), LINE_LOW, R(LSR, 0x00), R(IIR, 0x01),
      OUT(1), LINE_HIGH, R(LSR, 0x60), R(IIR, 0x02), LINE_LOW}},
    {"writing a byte takes the interrupt away until it is sent",
     {W(MCR, 0x08), W(IER, 0x02), LINE_HIGH, W(THR, 'x'), LINE_LOW, OUT(1), LINE_HIGH}},
    {"all bytes must have left",
     {W(MCR, 0x08), W(FCR, 0x01), W(IER, 0x02), R(IIR, 0xc2), W(THR, 'x'), W(THR, 'y'), W(THR, 'z'),
      OUT(2), LINE_LOW, R(LSR, 0x00), OUT(1), LINE_HIGH, R(LSR, 0x60)}},
    {"enabling the interrupt with a byte under way waits for it",
     {W(MCR, 0x08), W(THR, 'x'), W(IER, 0x02), LINE_LOW, OUT(1), LINE_HIGH}},
    {"line status shows the transmitter, whatever is enabled",
     {W(THR, 'x'), R(LSR, 0x00), OUT(1), R(LSR, 0x60)}},
    {"clearing the transmitter does not call bytes back",
     {W(FCR, 0x01), W(THR, 'x'), W(FCR, 0x05), R(LSR, 0x00), OUT(1), R(LSR, 0x60)}},

    {"loopback: what is sent is received, and stays inside",
     {W(MCR, 0x18), PLACES(0), W(FCR, 0x01), W(THR, 'a'), W(THR, 'b'), R(LSR, 0x61), R(RBR, 'a'),
      R(RBR, 'b'), R(LSR, 0x60), OUT(0)}},
    {"loopback: interrupts work",
     {W(MCR, 0x18), W(IER, 0x03), R(IIR, 0x02), LINE_LOW, W(THR, 'a'), LINE_HIGH, R(IIR, 0x04),
      R(RBR, 'a'), R(IIR, 0x02), LINE_LOW}},
    {"loopback: the modem's inputs are its outputs",
     {W(MCR, 0x10), R(MSR, 0x0b), R(MSR, 0x00), W(MCR, 0x11), R(MSR, 0x22), W(MCR, 0x12),
      R(MSR, 0x13), W(MCR, 0x14), R(MSR, 0x41), W(MCR, 0x18), R(MSR, 0x8c)}},
    {"loopback: Linux's test for a port",
     {W(MCR, 0x1a), R(MSR, 0x90 | 0x02), R(MSR, 0x90), W(MCR, 0x00), R(MSR, 0xb2)}},
    {"the ring's beginning is no change, its end is",
     {W(MCR, 0x10), R(MSR, 0x0b), W(MCR, 0x14), R(MSR, 0x40), W(MCR, 0x10), R(MSR, 0x04)}},
    {"a change of the modem's lines interrupts until it is read",
     {W(MCR, 0x18), R(MSR, 0x83), W(IER, 0x08), LINE_LOW, W(MCR, 0x19), LINE_HIGH, R(IIR, 0x00),
      LINE_HIGH, R(MSR, 0xa2), LINE_LOW, R(IIR, 0x01)}},

    {"an overrun of the register replaces it; reading LSR forgets it",
     {W(MCR, 0x18), W(IER, 0x04), W(THR, 'a'), LINE_LOW, W(THR, 'b'), LINE_HIGH, R(IIR, 0x06),
      LINE_HIGH, R(LSR, 0x63), LINE_LOW, R(LSR, 0x61), R(RBR, 'b')}},
    {"an overrun of the FIFO keeps what is in it",
     {W(MCR, 0x10), W(FCR, 0x01), W(THR, 1),	W(THR, 2),  W(THR, 3),	W(THR, 4),
      W(THR, 5),    W(THR, 6),	  W(THR, 7),	W(THR, 8),  W(THR, 9),	W(THR, 10),
      W(THR, 11),   W(THR, 12),	  W(THR, 13),	W(THR, 14), W(THR, 15), W(THR, 16),
      R(LSR, 0x61), W(THR, 17),	  R(LSR, 0x63), R(RBR, 1),  R(RBR, 2),	PLACES(0)}},
    {"priorities: line status, data, transmitter, modem",
     {W(MCR, 0x18), W(IER, 0x0f), W(THR, 'a'), W(THR, 'b'), R(IIR, 0x06), R(LSR, 0x63),
      R(IIR, 0x04), R(RBR, 'b'), R(IIR, 0x02), R(IIR, 0x00), LINE_HIGH, R(MSR, 0x83), R(IIR, 0x01),
      LINE_LOW}},
    {"reading IIR for another source leaves the transmitter's pending",
     {W(MCR, 0x08), W(IER, 0x03), IN('a'), R(IIR, 0x04), R(RBR, 'a'), LINE_HIGH, R(IIR, 0x02),
      LINE_LOW}},
};

static void do_step(struct uart *d, const char *name, size_t n, const struct step *s)
{
	unsigned found = s->value;

	switch (s->what) {
	case READ:
		found = uart_read(d, s->reg);
		break;
	case WRITE:
		uart_write(d, s->reg, (uint8_t)s->value);
		break;
	case TYPED:
		uart_receive(d, (uint8_t)s->value);
		break;
	case SENT:
		found = d->out_used >= s->value ? s->value : d->out_used;
		uart_sent(d, found);
		break;
	case ROOM:
		found = uart_room(d);
		break;
	default:
		found = uart_line(d);
		if (found != (s->what == HIGH))
			fail_msg("%s, step %zu: the line is %s", name, n, found ? "high" : "low");
		return;
	}
	if (found != s->value)
		fail_msg("%s, step %zu: 0x%02x, not 0x%02x", name, n, found, s->value);
}

static void test_rules(void **state)
{
	struct uart d;
	size_t i, n;

	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		uart_init(&d);
		for (n = 0; rules[i].steps[n].what != END; n++)
			do_step(&d, rules[i].name, n + 1, &rules[i].steps[n]);
	}
}

static void test_bytes_leave_in_order(void **state)
{
	struct uart d;
	unsigned i;

	uart_init(&d);
	for (i = 0; i < UART_UNDER_WAY + 1; i++)
		uart_write(&d, THR, (uint8_t)i);
	assert_int_equal(d.out_used, UART_UNDER_WAY);
	uart_sent(&d, 3);
	assert_int_equal(d.out[0], 3);
	assert_int_equal(d.out[UART_UNDER_WAY - 4], (uint8_t)(UART_UNDER_WAY - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_bytes_leave_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
