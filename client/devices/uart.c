/* SPDX-License-Identifier: MIT
 *
 * A 16550A as far as polling goes: every register, both FIFOs, loopback. The
 * transmitter is empty as soon as it is written; received bytes are fetched when
 * the guest looks for them. IIR tells the truth about what is pending, but no
 * interrupt line is raised. Names and bits are the PC16550D data sheet's.
 */
#include "config.h"

#include "devices.h"

#define BASE 0x3f8

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED 0x01
#define IER_EMPTY 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_EMPTY 0x02
#define IIR_RECEIVED 0x04
#define IIR_LINE 0x06
#define IIR_FIFOS 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x60	   /* holding register and transmitter */
#define MSR_CONNECTED 0xb0 /* DCD, DSR, CTS: a cable is plugged in */

static unsigned room(const struct uart *d)
{
	unsigned capacity = d->fcr & FCR_ENABLE ? UART_FIFO : 1;

	return d->used < capacity ? capacity - d->used : 0;
}

static void push(struct uart *d, uint8_t byte)
{
	if (room(d) == 0) {
		d->lsr_errors |= LSR_OVERRUN;
		return;
	}
	d->fifo[(d->head + d->used++) % UART_FIFO] = byte;
}

static uint8_t pop(struct uart *d)
{
	uint8_t byte;

	if (d->used == 0)
		return 0;
	byte = d->fifo[d->head];
	d->head = (d->head + 1) % UART_FIFO;
	d->used--;
	return byte;
}

/* Fetches input when the receiver has run empty. */
static void fetch(struct uart *d)
{
	uint8_t bytes[UART_FIFO];
	size_t i, n;

	if (d->used > 0 || (d->mcr & MCR_LOOP))
		return;
	n = sink_take(d->sink, bytes, room(d));
	for (i = 0; i < n; i++)
		push(d, bytes[i]);
}

/* The modem lines: in loopback they follow the outputs, DTR to DSR, RTS to CTS,
 * OUT1 to RI, OUT2 to DCD. */
static uint8_t modem_lines(const struct uart *d)
{
	if (!(d->mcr & MCR_LOOP))
		return MSR_CONNECTED;
	return (uint8_t)((d->mcr & 0x01) << 5 | (d->mcr & 0x02) << 3 | (d->mcr & 0x0c) << 4);
}

static void write_mcr(struct uart *d, uint8_t value)
{
	uint8_t before = modem_lines(d);

	d->mcr = value & 0x1f;
	/* The delta bits lie below their lines; RI's (0x04) tells only its end. */
	d->msr_delta |= (uint8_t)((before ^ modem_lines(d)) >> 4 & 0x0b);
	if (before & ~modem_lines(d) & 0x40)
		d->msr_delta |= 0x04;
}

static uint8_t read_iir(struct uart *d)
{
	uint8_t fifos = d->fcr & FCR_ENABLE ? IIR_FIFOS : 0;

	fetch(d);
	if ((d->ier & IER_LINE) && d->lsr_errors)
		return fifos | IIR_LINE;
	if ((d->ier & IER_RECEIVED) && d->used > 0)
		return fifos | IIR_RECEIVED;
	if ((d->ier & IER_EMPTY) && d->thre_pending) {
		d->thre_pending = false;
		return fifos | IIR_EMPTY;
	}
	if ((d->ier & IER_MODEM) && d->msr_delta)
		return fifos | IIR_MODEM;
	return fifos | IIR_NONE;
}

static uint8_t read_lsr(struct uart *d)
{
	uint8_t value;

	fetch(d);
	value = LSR_EMPTY | d->lsr_errors | (d->used > 0 ? LSR_DATA : 0);
	d->lsr_errors = 0;
	return value;
}

static uint8_t read_msr(struct uart *d)
{
	uint8_t value = modem_lines(d) | d->msr_delta;

	d->msr_delta = 0;
	return value;
}

static uint32_t uart_read(void *state, uint16_t port)
{
	struct uart *d = state;

	switch (port - BASE) {
	case RBR_THR:
		if (d->lcr & LCR_DLAB)
			return d->divisor & 0xff;
		fetch(d);
		return pop(d);
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
		return d->scratch;
	}
}

static void transmit(struct uart *d, uint8_t byte)
{
	if (d->mcr & MCR_LOOP)
		push(d, byte);
	else
		sink_put(d->sink, byte);
	d->thre_pending = true;
}

static void write_ier(struct uart *d, uint8_t value)
{
	/* Enabling it while the transmitter is empty makes it pending at once. */
	if ((value & IER_EMPTY) && !(d->ier & IER_EMPTY))
		d->thre_pending = true;
	d->ier = value & 0x0f;
}

static void write_fcr(struct uart *d, uint8_t value)
{
	if ((value & FCR_CLEAR_RECEIVER) || ((d->fcr ^ value) & FCR_ENABLE))
		d->head = d->used = 0;
	d->fcr = value;
}

static enum pc_outcome uart_write(void *state, uint16_t port, uint32_t value)
{
	struct uart *d = state;
	uint8_t byte = (uint8_t)value;

	switch (port - BASE) {
	case RBR_THR:
		if (d->lcr & LCR_DLAB)
			d->divisor = (uint16_t)((d->divisor & 0xff00) | byte);
		else
			transmit(d, byte);
		break;
	case IER:
		if (d->lcr & LCR_DLAB)
			d->divisor = (uint16_t)((d->divisor & 0x00ff) | byte << 8);
		else
			write_ier(d, byte);
		break;
	case IIR_FCR:
		write_fcr(d, byte);
		break;
	case LCR:
		d->lcr = byte;
		break;
	case MCR:
		write_mcr(d, byte);
		break;
	case SCR:
		d->scratch = byte;
		break;
	}
	return PC_GO_ON;
}

struct pc_device uart_device(struct uart *d)
{
	return (struct pc_device){
	    .name = "uart",
	    .ports = {{BASE, BASE + 7}},
	    .sizes = PC_BYTES,
	    .state = d,
	    .read = uart_read,
	    .write = uart_write,
	    .sink = d->sink,
	};
}
