/* SPDX-License-Identifier: MIT
 *
 * How kvmcpud ends. 0 to 63 are the guest's: the code of whoever stopped the
 * VM. From 64 on they are the daemon's, with the numbers of sysexits(3) where
 * one fits. kvmcpud(8) lists them.
 */
#ifndef KVMCPUD_STATUS_H
#define KVMCPUD_STATUS_H

enum exit_status {
	STATUS_OK = 0,
	STATUS_USAGE = 64,   /* options or configuration file */
	STATUS_IMAGE = 66,   /* firmware or image unreadable, or does not fit */
	STATUS_NO_KVM = 69,  /* /dev/kvm missing, not permitted, or lacks something */
	STATUS_OS = 71,	     /* the system refused memory, threads, descriptors */
	STATUS_RUNTIME = 73, /* the runtime directory or a socket in it */
	STATUS_BUSY = 75,    /* a VM of this name runs already */
	STATUS_GUEST = 79,   /* a vCPU ended in a fatal exit */
};

#endif
