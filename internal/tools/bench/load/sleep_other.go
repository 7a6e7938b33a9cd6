//go:build !linux

package load

import "time"

func sleeper() (sleep func(time.Duration), done func()) { return time.Sleep, func() {} }
