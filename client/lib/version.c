/* SPDX-License-Identifier: MIT
 *
 * The library's version, as configured.
 */
#include "config.h"

#include "kvmcpu.h"

const char *kvmcpu_version(void)
{
	return PACKAGE_VERSION;
}
