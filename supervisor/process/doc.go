// Package process runs child programs and keeps them running.
//
// A Runner starts one child, writes its output to the log line by line, starts it again with
// exponential backoff when it ends, and on request stops it with TERM, a grace, KILL. A child starts
// through a shim, the supervisor's own binary executed again (see RunShim), that reduces identity,
// capabilities and limits to what its Spec names and ties its life to the supervisor's before it
// becomes the program. No child ever holds CAP_SYS_TIME, and none is started through a shell.
//
// What the caller may rely on:
//   - Each child leads its own process group; when it ends, what is left of the group is killed
//     before the child is reaped, so that the number of the group cannot have been reused.
//   - Where a cgroup was delegated to the supervisor (Delegated), each child has one of its own, with
//     limits of memory and tasks, and no grandchild outlives the child, whatever group it fled to.
//   - A supervisor that dies, however it dies, takes its children with it (PR_SET_PDEATHSIG). A
//     grandchild that outlives its parent then is for the service manager to end, or for the next start.
//   - Every wait is bounded and belongs to one child: none delays another.
//   - The supervisor needs CAP_KILL to signal a child of another user, its death signal included,
//     CAP_SETUID and CAP_SETGID to start it, CAP_SETPCAP to empty its bounding set, and itself every
//     capability that it hands on.
//
// The package does not decide whether a living child is healthy, and it knows nothing of what its
// children are for: who knows calls Restart and Progress.
package process
