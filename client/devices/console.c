/* SPDX-License-Identifier: MIT
 *
 * Bytes that the guest writes leave before its access is answered, so that THRE
 * is set again when it looks. Where the other end takes no more they stay, THRE
 * stays clear, and console_pump() goes on when poll says that there is room. A
 * guest that writes by string instructions, without looking, is held instead.
 *
 * Input is read when the receiver has room, and no earlier: the rest stays where
 * it comes from. As long as more is to be had, the read that empties the FIFO
 * fills it again, so that a guest in its receive loop finds it full and no
 * interrupt has to be raised anew.
 */
#include "config.h"

#include "console.h"

#include <string.h>

#define BASE 0x3f8
#define GSI 4

static int flush(struct console *c)
{
	struct uart *d = &c->uart;
	ssize_t n;

	while (d->out_used > 0) {
		n = stream_write(&c->stream, d->out, d->out_used);
		if (n <= 0)
			return (int)n;
		uart_sent(d, (unsigned)n);
	}
	return 0;
}

static bool fill(struct console *c)
{
	uint8_t bytes[UART_FIFO];
	size_t room = uart_room(&c->uart), n, i;

	if (!c->stream.more || room == 0)
		return false;
	n = c->stream.type->read(&c->stream, bytes, room);
	for (i = 0; i < n; i++)
		uart_receive(&c->uart, bytes[i]);
	return n > 0;
}

int console_pump(struct console *c)
{
	unsigned before = c->uart.out_used;
	bool changed = false;
	int r;

	if (c->stream.type == NULL)
		return 0;
	/* poll says when a try is worth while again. */
	r = c->stream.stalled ? 0 : flush(c);
	if (r < 0)
		return r;
	while (fill(c))
		changed = true;
	return changed || c->uart.out_used != before;
}

size_t console_poll(const struct console *c, struct pollfd *ret)
{
	if (c->stream.type == NULL)
		return 0;
	return c->stream.type->poll(&c->stream, uart_room(&c->uart) > 0, ret);
}

void console_polled(struct console *c, const struct pollfd *p, size_t n)
{
	if (n > 0)
		c->stream.type->polled(&c->stream, p, n);
}

/* ---- the device ---- */

static uint32_t console_read(void *state, uint16_t port)
{
	struct console *c = state;
	uint8_t value = uart_read(&c->uart, port - BASE);

	if (c->uart.used == 0)
		fill(c);
	return value;
}

static enum pc_outcome console_write(void *state, uint16_t port, uint32_t value)
{
	struct console *c = state;

	while (port == BASE && c->uart.out_used == UART_UNDER_WAY)
		if (flush(c) < 0 || stream_wait(&c->stream, c->end_fd) < 0)
			break;
	uart_write(&c->uart, port - BASE, (uint8_t)value);
	return PC_GO_ON;
}

static int console_finish(void *state)
{
	return flush(state);
}

static bool console_line(const void *state)
{
	const struct console *c = state;

	return uart_line(&c->uart);
}

/* ---- what is kept ---- */

#define SAVED (12 + UART_FIFO)

static void console_save(const void *state, uint8_t *ret)
{
	const struct uart *d = &((const struct console *)state)->uart;
	unsigned i;

	memset(ret, 0, SAVED);
	state_put_le(ret, d->divisor, 2);
	memcpy(ret + 2,
	       (const uint8_t[]){d->ier, d->fcr, d->lcr, d->mcr, d->scr, d->lsr_errors,
				 d->msr_delta, d->thre_pending, (uint8_t)d->used},
	       9);
	for (i = 0; i < d->used; i++)
		ret[12 + i] = d->fifo[(d->head + i) % UART_FIFO];
}

static void console_load(void *state, const uint8_t *saved)
{
	struct uart *d = &((struct console *)state)->uart;

	d->divisor = (uint16_t)state_get_le(saved, 2);
	d->ier = saved[2] & 0x0f;
	d->fcr = saved[3];
	d->lcr = saved[4];
	d->mcr = saved[5];
	d->scr = saved[6];
	d->lsr_errors = saved[7];
	d->msr_delta = saved[8];
	d->thre_pending = saved[9];
	d->used = saved[10] <= UART_FIFO ? saved[10] : UART_FIFO;
	d->head = 0;
	memcpy(d->fifo, saved + 12, UART_FIFO);
}

static void save_written(const void *state, uint8_t *ret)
{
	state_put_le(ret, ((const struct console *)state)->stream.written, 8);
}

static void load_written(void *state, const uint8_t *saved)
{
	((struct console *)state)->stream.written = state_get_le(saved, 8);
}

static void save_under_way(const void *state, uint8_t *ret)
{
	const struct uart *d = &((const struct console *)state)->uart;

	state_put_le(ret, d->out_used, 2);
	memcpy(ret + 2, d->out, d->out_used);
}

static void load_under_way(void *state, const uint8_t *saved)
{
	struct uart *d = &((struct console *)state)->uart;
	unsigned used = (unsigned)state_get_le(saved, 2);

	d->out_used = used <= UART_UNDER_WAY ? used : 0;
	memcpy(d->out, saved + 2, d->out_used);
}

struct pc_device console_device(struct console *c)
{
	return (struct pc_device){
	    .name = "uart",
	    .ports = {{BASE, BASE + 7}},
	    .sizes = PC_BYTES,
	    .state = c,
	    .read = console_read,
	    .write = console_write,
	    .finish = console_finish,
	    .line = console_line,
	    .gsi = GSI,
	    .sections = {{"uart", SAVED, console_save, console_load},
			 {"out", 8, save_written, load_written},
			 {"tx", 2 + UART_UNDER_WAY, save_under_way, load_under_way}},
	};
}
