/* SPDX-License-Identifier: MIT
 *
 * The definition block that daemon/x86/acpi_dsdt.c has in bytes. tests/system/
 * test_kernel.py compiles this with iasl and compares.
 */
DefinitionBlock ("", "DSDT", 2, "KVMCPU", "KVMCPUD ", 1)
{
	/* SLP_TYP 0 for power off: what a device client waits for at port 0x604. */
	Name (\_S5, Package () { 0, 0, 0, 0 })

	Device (\_SB.COM1)
	{
		Name (_HID, EisaId ("PNP0501"))
		Name (_CRS, ResourceTemplate ()
		{
			IO (Decode16, 0x3F8, 0x3F8, 0, 8)
			IRQNoFlags () { 4 }
		})
	}

	Device (\_SB.RTC)
	{
		Name (_HID, EisaId ("PNP0B00"))
		Name (_CRS, ResourceTemplate ()
		{
			IO (Decode16, 0x70, 0x70, 0, 2)
			IRQNoFlags () { 8 }
		})
	}
}
