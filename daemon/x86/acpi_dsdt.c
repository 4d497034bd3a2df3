/* SPDX-License-Identifier: MIT
 *
 * The DSDT in AML (ACPI 6.4, chapter 20): what powers off, and two of the PC's
 * devices with their ports and interrupts (PNP0501 is a 16550, PNP0B00 a clock).
 * tests/acpi/dsdt.asl is the same in words; a test compiles it and compares.
 */
#include "config.h"

#include "acpi.h"

#define NAME(a, b, c, d) 0x08, a, b, c, d
#define LOW_HIGH(value) (value) & 0xff, (value) >> 8

/* _HID is an EISA identifier: "PNP" and a number, high byte first. _CRS is a buffer
 * of 13 bytes with an I/O port descriptor (7 bytes behind 0x47: decodes 16 bits, from,
 * to, alignment, length), an IRQ descriptor (a mask, behind 0x22) and an end tag. */
#define HARDWARE_ID(number) NAME('_', 'H', 'I', 'D'), 0x0c, 0x41, 0xd0, (number) >> 8, (number)&0xff
#define RESOURCES(port, ports, irq)                                                               \
	NAME('_', 'C', 'R', 'S'), 0x11, 16, 0x0a, 13, 0x47, 1, LOW_HIGH(port), LOW_HIGH(port), 0, \
	    ports, 0x22, LOW_HIGH(1 << (irq)), 0x79, 0
/* 42 bytes with the length itself; 0x2e begins a name of two parts. */
#define DEVICE(a, b, c, d, ...) 0x5b, 0x82, 42, 0x2e, '_', 'S', 'B', '_', a, b, c, d, __VA_ARGS__

const uint8_t acpi_dsdt[] = {
    /* Four zeros: the package has 6 bytes with the length, 4 elements. */
    NAME('_', 'S', '5', '_'),
    0x12,
    6,
    4,
    0,
    0,
    0,
    0,
    DEVICE('C', 'O', 'M', '1', HARDWARE_ID(0x0501), RESOURCES(0x3f8, 8, 4)),
    DEVICE('R', 'T', 'C', '_', HARDWARE_ID(0x0b00), RESOURCES(0x70, 2, 8)),
};
const uint32_t acpi_dsdt_size = sizeof(acpi_dsdt);
