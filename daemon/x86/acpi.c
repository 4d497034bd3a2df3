/* SPDX-License-Identifier: MIT
 *
 * The tables say what KVM's interrupt controllers make of this machine, and which
 * ports a device client is expected to serve: the processors and the IO-APIC (MADT),
 * power-off, reset and the PC's old devices (FADT, DSDT). By the ACPI specification,
 * 6.4, chapter 5; layouts as of 4.0, which has all that is needed.
 *
 * ISA interrupt 0, the PIT's, is not overridden to GSI 2 as on other PCs: KVM's own
 * routing takes it to pin 0 of the IO-APIC. An 8042 is not promised even though its
 * port may reset the machine: a Linux that is promised one asks 10,000 times for a
 * keyboard.
 */
#include "config.h"

#include "acpi.h"

#include <string.h>

#include "layout.h"

#define PACKED __attribute__((packed))
#define IO_APIC_GPA 0xfec00000u /* where KVM has it, as has every PC */
#define LOCAL_APIC_GPA 0xfee00000u

struct header {
	char signature[4];
	uint32_t size;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} PACKED;

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, size;
	uint64_t xsdt;
	uint8_t whole_checksum, reserved[3];
} PACKED;
#define RSDP_OLD_SIZE 20 /* what checksum covers */

struct facs {
	char signature[4];
	uint32_t size, hardware, waking, lock, flags;
	uint64_t waking_64;
	uint8_t version, reserved[31];
} PACKED;

struct register_gas {
	uint8_t space, bits, offset, access;
	uint64_t address;
} PACKED;

struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved_1, profile;
	uint16_t sci;
	uint32_t smi_command; /* 0: always in ACPI mode */
	uint8_t enable, disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
	uint32_t gpe0, gpe1;
	uint8_t pm1_event_size, pm1_control_size, pm2_control_size, pm_timer_size;
	uint8_t gpe0_size, gpe1_size, gpe1_base, cstate;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved_2;
	uint32_t flags;
	struct register_gas reset;
	uint8_t reset_value, reserved_3[3];
	uint64_t facs_64, dsdt_64;
	struct register_gas blocks[8]; /* 0: as above */
} PACKED;

#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_MSI (1u << 3)

#define FADT_WBINVD (1u << 0)
#define FADT_C1 (1u << 2)
#define FADT_NO_POWER_BUTTON (1u << 4)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_NO_RTC_WAKE (1u << 6)
#define FADT_RESET (1u << 10)

struct madt {
	struct header h;
	uint32_t local_apic, flags;
} PACKED;
#define MADT_HAS_PIC (1u << 0)

struct madt_cpu {
	uint8_t type, size, processor, apic;
	uint32_t flags;
} PACKED;

struct madt_io_apic {
	uint8_t type, size, id, reserved;
	uint32_t gpa, first_gsi;
} PACKED;

struct madt_override {
	uint8_t type, size, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} PACKED;
#define LEVEL_ACTIVE_HIGH 0x000d

struct madt_nmi {
	uint8_t type, size, processor; /* 0xff: all */
	uint16_t flags;
	uint8_t lint;
} PACKED;

/* Where the next table goes. */
struct area {
	uint8_t *at;
	kvmcpu_gpa_t gpa;
};

static uint8_t checksum(const void *at, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)at)[i]);
	return (uint8_t)-sum;
}

static void *put(struct area *a, const void *bytes, size_t size)
{
	void *at = memcpy(a->at, bytes, size);

	a->at += size;
	a->gpa += size;
	return at;
}

static void align(struct area *a, size_t to)
{
	size_t gap = -a->gpa & (to - 1);

	a->at += gap;
	a->gpa += gap;
}

static struct header header(const char *signature, uint8_t revision)
{
	struct header h = {.revision = revision, .oem_revision = 1, .creator_revision = 1};

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem, "KVMCPU", sizeof(h.oem));
	memcpy(h.oem_table, "KVMCPUD ", sizeof(h.oem_table));
	memcpy(h.creator, "KVMC", sizeof(h.creator));
	return h;
}

/* Closes a table whose parts have been put from at to here; returns its address. */
static kvmcpu_gpa_t finish(struct area *a, uint8_t *at)
{
	struct header *h = (struct header *)at;
	size_t size = (size_t)(a->at - at);
	kvmcpu_gpa_t gpa = a->gpa - size;

	h->size = (uint32_t)size;
	h->checksum = checksum(at, size);
	align(a, 16);
	return gpa;
}

static kvmcpu_gpa_t put_facs(struct area *a)
{
	const struct facs facs = {
	    .signature = {'F', 'A', 'C', 'S'}, .size = sizeof(facs), .version = 2};

	align(a, 64);
	kvmcpu_gpa_t gpa = a->gpa;
	put(a, &facs, sizeof(facs));
	return gpa;
}

static kvmcpu_gpa_t put_dsdt(struct area *a)
{
	struct header h = header("DSDT", 2); /* 2: integers of 64 bits */
	uint8_t *at = put(a, &h, sizeof(h));

	put(a, acpi_dsdt, acpi_dsdt_size);
	return finish(a, at);
}

static kvmcpu_gpa_t put_fadt(struct area *a, kvmcpu_gpa_t facs, kvmcpu_gpa_t dsdt)
{
	const struct fadt fadt = {
	    .h = header("FACP", 4),
	    .facs = (uint32_t)facs,
	    .dsdt = (uint32_t)dsdt,
	    .dsdt_64 = dsdt,
	    .sci = ACPI_SCI,
	    .pm1a_event = ACPI_PM1A_EVENT,
	    .pm1_event_size = 4,
	    .pm1a_control = ACPI_PM1A_CONTROL,
	    .pm1_control_size = 2,
	    .c2_latency = UINT16_MAX, /* no such state */
	    .c3_latency = UINT16_MAX,
	    .boot_arch = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI,
	    .flags = FADT_WBINVD | FADT_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
		     FADT_NO_RTC_WAKE | FADT_RESET,
	    .reset = {.space = 1 /* I/O */, .bits = 8, .access = 1, .address = ACPI_RESET_PORT},
	    .reset_value = ACPI_RESET_VALUE,
	};

	return finish(a, put(a, &fadt, sizeof(fadt)));
}

static kvmcpu_gpa_t put_madt(struct area *a, uint32_t n_cpus)
{
	const struct madt madt = {header("APIC", 3), LOCAL_APIC_GPA, MADT_HAS_PIC};
	const struct madt_io_apic io_apic = {1, sizeof(io_apic), 0, 0, IO_APIC_GPA, 0};
	const struct madt_override sci = {2, sizeof(sci), 0, ACPI_SCI, ACPI_SCI, LEVEL_ACTIVE_HIGH};
	const struct madt_nmi nmi = {4, sizeof(nmi), 0xff, 0, 1};
	uint8_t *at = put(a, &madt, sizeof(madt));

	for (uint32_t i = 0; i < n_cpus; i++) {
		struct madt_cpu cpu = {0, sizeof(cpu), (uint8_t)i, (uint8_t)i, 1 /* enabled */};
		put(a, &cpu, sizeof(cpu));
	}
	put(a, &io_apic, sizeof(io_apic));
	put(a, &sci, sizeof(sci));
	put(a, &nmi, sizeof(nmi));
	return finish(a, at);
}

/* The list of the others, with addresses of entry_size bytes. */
static kvmcpu_gpa_t put_list(struct area *a, const char *signature, size_t entry_size,
			     const uint64_t *tables, unsigned n)
{
	struct header h = header(signature, 1);
	uint8_t *at = put(a, &h, sizeof(h));

	for (unsigned i = 0; i < n; i++)
		put(a, &tables[i], entry_size);
	return finish(a, at);
}

kvmcpu_gpa_t acpi_write(const struct memory *m, uint32_t n_cpus)
{
	struct area a = {memory_at(m, X86_ACPI, X86_ACPI_END - X86_ACPI, true), X86_ACPI};
	struct rsdp rsdp = {.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
			    .oem = {'K', 'V', 'M', 'C', 'P', 'U'},
			    .revision = 2,
			    .size = sizeof(rsdp)};
	struct rsdp *first = put(&a, &rsdp, sizeof(rsdp));

	align(&a, 64);
	kvmcpu_gpa_t facs = put_facs(&a), dsdt = put_dsdt(&a);
	const uint64_t tables[] = {put_fadt(&a, facs, dsdt), put_madt(&a, n_cpus)};
	rsdp.rsdt = (uint32_t)put_list(&a, "RSDT", 4, tables, 2);
	rsdp.xsdt = put_list(&a, "XSDT", 8, tables, 2);
	rsdp.checksum = checksum(&rsdp, RSDP_OLD_SIZE);
	rsdp.whole_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(first, &rsdp, sizeof(rsdp));
	return X86_ACPI;
}
