/* SPDX-License-Identifier: MIT
 *
 * ACPI tables for a kernel that the daemon loads itself, without firmware.
 */
#ifndef KVMCPUD_X86_ACPI_H
#define KVMCPUD_X86_ACPI_H

#include "memory.h"

/* The registers that the tables promise and a device client serves. */
#define ACPI_PM1A_EVENT 0x600	/* status, enable: 2 bytes each */
#define ACPI_PM1A_CONTROL 0x604 /* 2 bytes; SLP_EN with SLP_TYP 0 is power off */
#define ACPI_RESET_PORT 0xcf9	/* 0x06 is reset */
#define ACPI_RESET_VALUE 0x06
#define ACPI_SCI 9

/* Writes them to X86_ACPI and returns the address of the RSDP. */
kvmcpu_gpa_t acpi_write(const struct memory *m, uint32_t n_cpus);

/* The definition block of the DSDT, without its header: acpi_dsdt.c. */
extern const uint8_t acpi_dsdt[];
extern const uint32_t acpi_dsdt_size;

#endif
