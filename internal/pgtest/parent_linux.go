package pgtest

import "syscall"

// dieWithParent makes the server end when the test is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
