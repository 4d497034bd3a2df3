/* SPDX-License-Identifier: MIT
 *
 * The guest's header at work: one call with six arguments, then a page that is handed
 * over with one exit. RESULTS has what each gave, and the page's sum afterwards.
 */
#include "kvmcpu.h"

#define RESULTS ((volatile kvmcpu_word *)0x9800)
#define PAGE ((volatile unsigned char *)0x10000)
#define PAGE_BYTES 4096

__attribute__((section(".text.start"), noreturn, used)) void start(void)
{
	kvmcpu_word sum = 0;

	for (int i = 0; i < PAGE_BYTES; i++)
		PAGE[i] = (unsigned char)(i * 7);
	RESULTS[0] = kvmcpu_hypercall6(0x70, 1, 2, 3, 4, 5, 6);
	RESULTS[1] = kvmcpu_hypercall_buffer(0x71, (kvmcpu_word)PAGE, PAGE_BYTES, 9);
	for (int i = 0; i < PAGE_BYTES; i++)
		sum += PAGE[i];
	RESULTS[2] = sum;
	for (;;)
		__asm__ volatile("hlt");
}
