/* SPDX-License-Identifier: MIT
 *
 * The user's own terminal as a serial line: raw while this process serves, as it
 * was on every way out, and with a prefix key for what is meant for us.
 */
#ifndef KVMCPU_TERMINAL_H
#define KVMCPU_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum terminal_wish { TERMINAL_NOTHING, TERMINAL_STOP, TERMINAL_DETACH };

/* Whether standard input is a terminal and this process is in its foreground; it
 * is raw from here on. The signals that end a process, stop it or let it go on
 * are handled then, as far as they are not ignored. */
bool terminal_take(void);
/* Does nothing where it was not taken. */
void terminal_restore(void);

/* Takes the prefix and what follows it out of size typed bytes. Returns how many
 * are left for the guest; *ret_wish is set if there is one. */
size_t terminal_filter(uint8_t *buf, size_t size, enum terminal_wish *ret_wish);

#endif
