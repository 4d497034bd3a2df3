/* SPDX-License-Identifier: MIT
 *
 * Hypercalls for guests written in C: freestanding, 32 or 64 bits, GNU C.
 *
 * Scope: the ways pio (the default) and mmio of kvmcpud's --hypercall, which need no
 * more than one store; kvmcpu.inc has the others. A call is one exit, with a number,
 * arguments and a result that mean what guest and device agree on. A number that nobody
 * claims gives all ones. Before anybody claims any hypercall, a call is an
 * ordinary write and gives back its number.
 *
 * Each call may change memory, and the compiler is told so.
 */
#ifndef KVMCPU_GUEST_KVMCPU_H
#define KVMCPU_GUEST_KVMCPU_H

/* The daemon's default; at most 0xff, so that the instruction holds it. */
#ifndef KVMCPU_HYPERCALL_PORT
#define KVMCPU_HYPERCALL_PORT 0xe4
#endif

/* A register: 32 or 64 bits. */
typedef unsigned long kvmcpu_word;

/* --hypercall pio:N. The guest needs IO privilege for the port and the three behind it. */
static inline kvmcpu_word kvmcpu_hypercall(kvmcpu_word number, kvmcpu_word a, kvmcpu_word b,
					   kvmcpu_word c)
{
	__asm__ volatile("outl %%eax, %1"
			 : "+a"(number)
			 : "N"(KVMCPU_HYPERCALL_PORT), "D"(a), "S"(b), "d"(c)
			 : "memory");
	return number;
}

/* --hypercall mmio:N, with N mapped at door, uncached. */
static inline kvmcpu_word kvmcpu_hypercall_mmio(volatile void *door, kvmcpu_word number,
						kvmcpu_word a, kvmcpu_word b, kvmcpu_word c)
{
	__asm__ volatile("movl %%eax, (%1)"
			 : "+a"(number)
			 : "r"(door), "D"(a), "S"(b), "d"(c)
			 : "memory");
	return number;
}

#ifdef __x86_64__
/* All six arguments. */
static inline kvmcpu_word kvmcpu_hypercall6(kvmcpu_word number, kvmcpu_word a, kvmcpu_word b,
					    kvmcpu_word c, kvmcpu_word d, kvmcpu_word e,
					    kvmcpu_word f)
{
	register kvmcpu_word r10 __asm__("r10") = d;
	register kvmcpu_word r8 __asm__("r8") = e;
	register kvmcpu_word r9 __asm__("r9") = f;

	__asm__ volatile("outl %%eax, %1"
			 : "+a"(number)
			 : "N"(KVMCPU_HYPERCALL_PORT), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "memory");
	return number;
}
#endif

/* Hands over size bytes of memory with one exit: their guest-physical address and their
 * number are the first two arguments. The device reads them, and may write them before
 * it answers. */
static inline kvmcpu_word kvmcpu_hypercall_buffer(kvmcpu_word number, kvmcpu_word address,
						  kvmcpu_word size, kvmcpu_word c)
{
	return kvmcpu_hypercall(number, address, size, c);
}

#endif
