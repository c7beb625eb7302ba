package flight

import (
	"fmt"
	"runtime/debug"
)

// panicked is the value of a panic that is raised again in another goroutine. It
// keeps the stack of the first one, which the second would not show.
type panicked struct {
	value any
	stack []byte
}

// caught is to be called by the function that recovered v.
func caught(v any) *panicked {
	if p, ok := v.(*panicked); ok {
		return p // of a flight inside a flight: the first stack is the one that tells
	}
	return &panicked{v, debug.Stack()}
}

// Error has the panic's value and stack. The runtime prints it if nobody recovers.
func (p *panicked) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the panic's value if that is an error.
func (p *panicked) Unwrap() error {
	err, _ := p.value.(error)
	return err
}
