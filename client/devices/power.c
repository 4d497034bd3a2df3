/* SPDX-License-Identifier: MIT
 *
 * How a guest ends or restarts the machine. The registers are those of ACPI's
 * fixed hardware, at the ports that the daemon's ACPI tables name: a PM1a event
 * block, in which nothing ever happens, since there is no button and no timer,
 * and a PM1a control block. Sleep type 0 is soft off. Beside them stands the
 * chipset's reset control register.
 *
 * The registers are bytes side by side, so that accesses of any size work.
 */
#include "config.h"

#include "devices.h"

#include <string.h>

#include "log.h"

#define BASE 0x600
#define RESET_CONTROL 0xcf9

enum { STATUS, ENABLE = 2, CONTROL = 4, CONTROL_HIGH = 5, REGISTERS = 6 };

#define SCI_EN 0x01 /* in CONTROL: ACPI mode, which is the only one */
/* In CONTROL_HIGH, bits 10 to 13 of the register. */
#define SLP_TYP 0x1c
#define SLP_TYP_OFF 0x00
#define SLP_EN 0x20
#define RESET_CPU 0x04

static uint32_t power_read(void *state, uint16_t port)
{
	struct power *d = state;

	if (port == RESET_CONTROL)
		return 0;
	return port - BASE == CONTROL ? d->registers[CONTROL] | SCI_EN : d->registers[port - BASE];
}

static enum pc_outcome sleep_now(const struct power *d)
{
	unsigned type = d->registers[CONTROL_HIGH] & SLP_TYP;

	if (type == SLP_TYP_OFF)
		return PC_POWER_OFF;
	log_warn("power: the guest asks for sleep type %u, which there is none of: ignored",
		 type >> 2);
	return PC_GO_ON;
}

static enum pc_outcome power_write(void *state, uint16_t port, uint32_t value)
{
	struct power *d = state;
	unsigned at = port - BASE;

	if (port == RESET_CONTROL)
		return value & RESET_CPU ? PC_RESET : PC_GO_ON;
	if (at < ENABLE) {
		d->registers[at] &= (uint8_t)~value;
		return PC_GO_ON;
	}
	d->registers[at] = (uint8_t)value;
	if (at != CONTROL_HIGH)
		return PC_GO_ON;
	d->registers[at] &= (uint8_t)~SLP_EN;
	return value & SLP_EN ? sleep_now(d) : PC_GO_ON;
}

static void power_save(const void *state, uint8_t *ret)
{
	memcpy(ret, ((const struct power *)state)->registers, REGISTERS);
}

static void power_load(void *state, const uint8_t *saved)
{
	memcpy(((struct power *)state)->registers, saved, REGISTERS);
}

struct pc_device power_device(struct power *d)
{
	return (struct pc_device){
	    .name = "power",
	    .ports = {{BASE, BASE + REGISTERS - 1}, {RESET_CONTROL, RESET_CONTROL}},
	    .sizes = PC_BYTES,
	    .side_by_side = true,
	    .state = d,
	    .read = power_read,
	    .write = power_write,
	    .sections = {{"power", REGISTERS, power_save, power_load}},
	};
}
