/* SPDX-License-Identifier: MIT
 *
 * What a file that is no kernel for this machine seems to be, so that whoever
 * gave it sees the mistake.
 */
#ifndef KVMCPUD_X86_GUESS_H
#define KVMCPUD_X86_GUESS_H

#include <stddef.h>
#include <stdint.h>

/* A noun phrase, with what to do about it where that is known; NULL if nothing fits. */
const char *guess_file(const uint8_t *bytes, size_t size);
/* The same for an ELF's e_machine, such as "AArch64"; NULL if it is not known. */
const char *guess_machine(uint16_t machine);

#endif
