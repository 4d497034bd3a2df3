/* SPDX-License-Identifier: MIT
 *
 * libkvmcpu: the client side of kvmcpud.
 *
 * Scope. kvmcpud runs a virtual machine's CPUs; whatever they touch beyond RAM
 * is answered by other processes over Unix sockets. This library speaks the
 * three roles of those processes: a device channel answers exits, a control
 * connection runs and inspects the VM, a monitor watches it. The values they
 * exchange are the structures of types.h; the schema in
 * $prefix/share/kvmcpud/proto describes each field.
 *
 * Threads. A handle belongs to one thread at a time; different handles are
 * independent of each other. The library starts no thread, keeps no global
 * state, installs no signal handler and causes no SIGPIPE. Calls that wait say
 * so; the others return at once.
 *
 * Loops. Every handle has a descriptor to poll for input and a dispatch call
 * that serves what is there without waiting. The library never owns the
 * caller's loop, unless the caller asks for kvmcpu_device_run().
 *
 * Errors. Calls return 0 or a negative errno; KVMCPU_END and KVMCPU_RESET are
 * the positive values. Every failure leaves a sentence for a person: with a _new call in its
 * struct kvmcpu_error, later in the handle's _error call. Outputs are untouched
 * on failure.
 *
 * ABI. Symbols are only ever added. Structures grow at their end only, and only
 * with a new soname as long as the version is below 1.0. Zero-filled options
 * mean the defaults.
 */
#ifndef KVMCPU_KVMCPU_H
#define KVMCPU_KVMCPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvmcpu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVMCPU_END 1		    /* the stream has ended and nothing is wrong */
#define KVMCPU_RESET 2		    /* so has a device's channel: the VM starts again */
#define KVMCPU_FOREVER UINT64_MAX   /* as a timeout in nanoseconds */
#define KVMCPU_DEFAULT_VM "default" /* the VM that a NULL name stands for */
#define KVMCPU_ERROR_TEXT 512	    /* bytes of an error's text, the NUL among them */

/* Why a _new call failed. */
struct kvmcpu_error {
	enum kvmcpu_hello_status status; /* what the daemon said; 0: it said nothing */
	char text[KVMCPU_ERROR_TEXT];	 /* what was refused, why, and what to do */
};

/* Which daemon to connect to and how to present oneself: the same for all three
 * roles. Borrowed for the call. */
struct kvmcpu_peer {
	const char *vm;		 /* the VM's name; NULL: KVMCPU_DEFAULT_VM */
	const char *runtime_dir; /* NULL: ${XDG_RUNTIME_DIR:-/run}/kvmcpud */
	const char *client;	 /* 1 to 64 printable ASCII bytes; NULL: the program's name */
	uint64_t timeout_ns;	 /* for the greeting, and for each control call; 0: 5 s */
};

/* The library's version, "0.1.0". Static. */
const char *kvmcpu_version(void);

/*
 * The _new calls connect and greet; they wait, at most peer.timeout_ns. On
 * success *ret is a handle that the caller gives back by the _free call of its
 * role, which closes the connection; _free(NULL) does nothing. err may be NULL.
 * They fail with
 *   -ENOENT, -ECONNREFUSED  no daemon of that name runs: start one, or take
 *                           another name (err->text lists those that run)
 *   -EACCES, -EPERM         this user may not open that socket: ask its owner
 *   -EINVAL                 an option is out of range: err->text says which
 *   -EPROTONOSUPPORT        another protocol version: update the older side
 *   -EADDRINUSE             a claim overlaps one of a connected client, which
 *                           err->text names: claim less, or stop that client
 *   -EUSERS                 the daemon takes no more clients or claims
 *   -EPROTO                 the daemon refused the Hello, or what answers there
 *                           is no kvmcpud: err->text says which
 *   -ETIMEDOUT              no answer in time: try again, or look at the daemon
 *   -ECONNRESET             it closed the connection: look at its log
 *   -ENOMEM, -EMFILE        this process has run out of memory or descriptors
 */

/* ---- devices ------------------------------------------------------------ */

/* A device channel: answers the exits that fall into its claims, one at a
 * time. Open one channel per vCPU to serve vCPUs side by side. */
struct kvmcpu_device;

struct kvmcpu_device_options {
	struct kvmcpu_peer peer;
	const struct kvmcpu_claim *claims; /* at least one; granted all or none */
	size_t n_claims;		   /* at most KVMCPU_MAX_CLAIMS */
	uint64_t vcpu_mask;		   /* bit n: serve vCPU n; 0: all */
};

int kvmcpu_device_new(const struct kvmcpu_device_options *options, struct kvmcpu_device **ret,
		      struct kvmcpu_error *err);

/* An exit that was not answered is offered to whoever claims its range next. */
void kvmcpu_device_free(struct kvmcpu_device *d);

/* The descriptor to poll for input. Still the handle's: do not close or read. */
int kvmcpu_device_fd(const struct kvmcpu_device *d);

/* What the daemon said in its greeting: the VM's shape, versions, client id.
 * The handle's, until it is freed. */
const struct kvmcpu_hello_reply *kvmcpu_device_hello(const struct kvmcpu_device *d);

/* Text of the last failure or end, "" before the first. The handle's, until
 * the next call on it. */
const char *kvmcpu_device_error(const struct kvmcpu_device *d);

/* Waits at most timeout_ns for the next exit (0: takes only what is there).
 *
 * 0 with *ret_exit, which is the handle's until the exit is answered; KVMCPU_END
 * if the VM has ended (kvmcpu_device_error() says how); KVMCPU_RESET if it starts
 * again: free the handle and open another, as a device just switched on; or
 *   -EAGAIN  none came in time: poll, or call again
 *   -EINTR   a signal handler ran while it waited: call again
 *   -EBUSY   the exit before is not answered: answer it first
 *   -EPROTO  the daemon has cut this channel off, or its bytes make no sense;
 *            the text says why. Free the handle, mend the device, connect again */
int kvmcpu_device_next(struct kvmcpu_device *d, uint64_t timeout_ns,
		       const struct kvmcpu_exit **ret_exit);

/* Answers the exit that kvmcpu_device_next() gave last, by one send. reply and
 * what it points to are borrowed for the call. reply->seq 0 stands for the
 * exit's own; of a reply with BUS_ERROR no data is sent. Waits only while the
 * socket is full, which one reply does not fill.
 *
 * 0, also if the VM has ended meanwhile: the next kvmcpu_device_next() says so; or
 *   -EINVAL  no exit is to be answered, or the reply does not fit it (the text
 *            says how); nothing was sent: answer again
 *   -EMSGSIZE  its effects fill more than a frame: send them in several replies,
 *            or by kvmcpu_control_effect() */
int kvmcpu_device_reply(struct kvmcpu_device *d, const struct kvmcpu_reply *reply);

/* Answers one exit. *reply is an OK that costs no ticks. Where the exit is a
 * read, data has room for its exit->size * exit->count bytes, filled with ones,
 * and reply->data points there; else data is NULL. A hypercall's data has 8
 * bytes. Everything is the library's until the handler returns; what it has
 * reply point to must stay valid until the handler is called again.
 *
 * 0: the reply is sent. A negative value: it is not sent and the loop ends with
 * this value. A positive one: it is sent and the loop ends with this value. */
typedef int (*kvmcpu_device_handler)(void *arg, const struct kvmcpu_exit *exit, uint8_t *data,
				     struct kvmcpu_reply *reply);

/* Serves the exits that are there, without waiting: for the caller's own loop,
 * when kvmcpu_device_fd() is readable. 0 when none is left, KVMCPU_END,
 * KVMCPU_RESET, the handler's value where it is not 0, or an error of next or reply (never
 * -EAGAIN). */
int kvmcpu_device_dispatch(struct kvmcpu_device *d, kvmcpu_device_handler handler, void *arg);

/* Serves exits until the VM ends. Waits. 0 at the VM's end, KVMCPU_RESET, the
 * handler's value where it is not 0, or an error of next or reply; -EINTR lets a signal handler
 * end it, and it may be called again. */
int kvmcpu_device_run(struct kvmcpu_device *d, kvmcpu_device_handler handler, void *arg);

/* ---- control ------------------------------------------------------------ */

/* A control connection: one request at a time, each call waits for its answer
 * at most peer.timeout_ns. Results belong to the handle and live until the next
 * call on it. Every call fails with
 *   -EINVAL      the daemon does not know the request or finds it malformed
 *   -ERANGE      an index, an address or a value is out of range
 *   -EOPNOTSUPP  not with this VM's configuration
 *   -EIO         KVM or the system refused
 *   -EBUSY       the daemon could not do it before its deadline, or not while the vCPU is
 *                in its present state: the text says what to do first
 *   -ETIMEDOUT   no answer; the connection is of no more use: free it
 *   -ECONNRESET  the daemon has gone, or closed the connection: free it
 *   -EPROTO      its bytes make no sense: free it; the versions may differ
 *   -ENOTCONN    one of the last three happened before: free it
 *   -ENOMEM      the answer does not fit memory
 * and the text of kvmcpu_control_error() says what, why and what to do. */
struct kvmcpu_control;

struct kvmcpu_control_options {
	struct kvmcpu_peer peer;
};

int kvmcpu_control_new(const struct kvmcpu_control_options *options, struct kvmcpu_control **ret,
		       struct kvmcpu_error *err);
void kvmcpu_control_free(struct kvmcpu_control *c);

/* As with a device. The descriptor becomes readable between calls only when the
 * daemon goes. */
int kvmcpu_control_fd(const struct kvmcpu_control *c);
const struct kvmcpu_hello_reply *kvmcpu_control_hello(const struct kvmcpu_control *c);
const char *kvmcpu_control_error(const struct kvmcpu_control *c);

/* The daemon's own code for the last refusal, or KVMCPU_ERROR_NONE if the last
 * call succeeded or failed on the way. */
enum kvmcpu_error_code kvmcpu_control_error_code(const struct kvmcpu_control *c);

/* The last Response as it came, protobuf without its length; NULL if none came.
 * The handle's, until the next call on it. */
const void *kvmcpu_control_response(const struct kvmcpu_control *c, size_t *ret_size);

/* Whether the daemon's loop answers. */
int kvmcpu_control_ping(struct kvmcpu_control *c);

int kvmcpu_control_status(struct kvmcpu_control *c, const struct kvmcpu_status **ret);

/* Stops the vCPUs of vcpu_mask (0: all) outside the guest and gives the status
 * as soon as each is paused with no access in flight, or after timeout_ms (0:
 * 1000; at most 600000): see vcpus[].wait for what still holds which. They stay
 * paused all the same. Waits timeout_ms longer than other calls. */
int kvmcpu_control_pause(struct kvmcpu_control *c, uint64_t vcpu_mask, uint32_t timeout_ms,
			 const struct kvmcpu_status **ret);

/* Lets the vCPUs of vcpu_mask (0: all) run again. */
int kvmcpu_control_resume(struct kvmcpu_control *c, uint64_t vcpu_mask,
			  const struct kvmcpu_status **ret);

/* A run by budget: see RunCall in control.proto, whose fields these are. */
struct kvmcpu_run_options {
	uint64_t vcpu_mask;	  /* 0: all; each must be paused and in no run */
	uint64_t ticks;		  /* the budget; 0 completes a pending access only */
	uint64_t advance_to_tick; /* 0, or where a clock that stands before it is set */
	bool stop_at_exit;
	uint64_t instructions; /* end behind exactly so many; 0 for no such limit */
	bool async;	       /* return at once; kvmcpu_control_wait_run gets the result */
};

/* Runs vCPUs and waits for their runs' ends, for as long as that takes. *ret has one
 * entry for each vCPU; the handle's, until the next call. With async *ret is empty.
 * Freeing the handle cancels what it has begun. -EBUSY: a vCPU is not paused, or is
 * in a run. -EOPNOTSUPP: this KVM cannot count instructions. -ERANGE: the budget goes past the
 * clock's end. */
int kvmcpu_control_run(struct kvmcpu_control *c, const struct kvmcpu_run_options *options,
		       const struct kvmcpu_run_result **ret);

/* Waits, for as long as it takes, until no run of these vCPUs (0: all) is going;
 * *ret has the last run of each that was ever run. */
int kvmcpu_control_wait_run(struct kvmcpu_control *c, uint64_t vcpu_mask,
			    const struct kvmcpu_run_result **ret);

/* Ends the runs of these vCPUs (0: all), whoever began them. */
int kvmcpu_control_cancel_run(struct kvmcpu_control *c, uint64_t vcpu_mask);

/* Ends the VM and the daemon, whose exit status will be code (0 to 63). reason
 * is for its log, at most 200 bytes; NULL for none. */
int kvmcpu_control_stop(struct kvmcpu_control *c, uint32_t code, const char *reason);

int kvmcpu_control_stats(struct kvmcpu_control *c, const struct kvmcpu_stats **ret);

/* The whole state of a vCPU, which leaves the guest for it and goes on. */
int kvmcpu_control_dump(struct kvmcpu_control *c, uint32_t vcpu, const struct kvmcpu_dump **ret);

/* Clients and claims. */
int kvmcpu_control_clients(struct kvmcpu_control *c, const struct kvmcpu_client_list **ret);

/* Guest memory, size bytes of any number: split into as many requests as it
 * takes, also where one region of the memory map ends and the next begins. The
 * guest runs on, so a copy is not of one moment unless the VM is paused. -ERANGE
 * where address to address + size - 1 is not all memory (of a write: not all
 * writable); what lies before the first such byte may have been copied. */
int kvmcpu_control_read_memory(struct kvmcpu_control *c, kvmcpu_gpa_t address, void *buf,
			       size_t size);
int kvmcpu_control_write_memory(struct kvmcpu_control *c, kvmcpu_gpa_t address, const void *buf,
				size_t size);

/* Where guest memory lies, and its descriptor for reading and writing, to be
 * mapped shared. *ret_fd is the caller's to close; -1 where the daemon gave
 * none. ret_fd may be NULL. */
int kvmcpu_control_memory_map(struct kvmcpu_control *c, const struct kvmcpu_memory_map **ret,
			      int *ret_fd);

/* The daemon's schema: a google.protobuf.FileDescriptorSet of *ret_size bytes,
 * imports first. */
int kvmcpu_control_schema(struct kvmcpu_control *c, const void **ret, size_t *ret_size);

/* What a device does on its own account, not as part of a reply. effect is
 * borrowed for the call. */
int kvmcpu_control_effect(struct kvmcpu_control *c, const struct kvmcpu_effect *effect);

/* ---- monitors ----------------------------------------------------------- */

/* A stream of events. The VM never waits for it: who reads too slowly gets an
 * event of kind KVMCPU_EVENT_LOSS with the exact number lost. */
struct kvmcpu_monitor;

struct kvmcpu_monitor_options {
	struct kvmcpu_peer peer;
	const struct kvmcpu_filter *filter; /* NULL: everything */
	bool want_memory;		    /* see kvmcpu_monitor_memory() */
};

int kvmcpu_monitor_new(const struct kvmcpu_monitor_options *options, struct kvmcpu_monitor **ret,
		       struct kvmcpu_error *err);
void kvmcpu_monitor_free(struct kvmcpu_monitor *m);

/* As with a device; but poll only when kvmcpu_monitor_pending() is 0, since
 * events come in batches. */
int kvmcpu_monitor_fd(const struct kvmcpu_monitor *m);
const struct kvmcpu_hello_reply *kvmcpu_monitor_hello(const struct kvmcpu_monitor *m);
const char *kvmcpu_monitor_error(const struct kvmcpu_monitor *m);

/* Waits at most timeout_ns for the next event (0: takes only what is there).
 *
 * 0 with *ret_event, which is the handle's until the next call on it; KVMCPU_END
 * if the daemon has ended the stream, as it does when the VM ends; or
 *   -EAGAIN  none came in time
 *   -EINTR   a signal handler ran while it waited: call again
 *   -EPROTO  the daemon's bytes make no sense: free the handle
 *   -ENOMEM  a batch does not fit memory: free the handle */
int kvmcpu_monitor_next(struct kvmcpu_monitor *m, uint64_t timeout_ns,
			const struct kvmcpu_event **ret_event);

/* How many events of the current batch kvmcpu_monitor_next() has not yet given. */
size_t kvmcpu_monitor_pending(const struct kvmcpu_monitor *m);

/* The EventBatch that holds the last event given, as it came: protobuf without
 * its length; NULL if none came. The handle's, until the next batch is taken. */
const void *kvmcpu_monitor_batch(const struct kvmcpu_monitor *m, size_t *ret_size);

/* Hands every event that is there to handler, without waiting; a handler's value
 * other than 0 ends it. 0 when none is left, KVMCPU_END, the handler's value, or
 * an error of kvmcpu_monitor_next() (never -EAGAIN). */
typedef int (*kvmcpu_monitor_handler)(void *arg, const struct kvmcpu_event *event);
int kvmcpu_monitor_dispatch(struct kvmcpu_monitor *m, kvmcpu_monitor_handler handler, void *arg);

/* Asks for other events from now on; NULL: for everything. Those that are on
 * their way still come by the old filter. Waits only while the socket is full.
 *   -EINVAL      n_ranges is above KVMCPU_MAX_FILTER
 *   -ECONNRESET  the daemon has gone: free the handle */
int kvmcpu_monitor_set_filter(struct kvmcpu_monitor *m, const struct kvmcpu_filter *filter);

/* With want_memory: where guest memory lies, and a descriptor of it that is
 * read-only, both the handle's until it is freed. -EOPNOTSUPP if it was not
 * asked for or the daemon gave none. */
int kvmcpu_monitor_memory(const struct kvmcpu_monitor *m, const struct kvmcpu_memory_map **ret,
			  int *ret_fd);

#ifdef __cplusplus
}
#endif

#endif
