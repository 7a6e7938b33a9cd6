package admission

const (
	IdleFor    = idleFor
	SilentFor  = silentFor
	BodyWithin = bodyWithin
	Pause      = pause
)

// Resting returns the number of connections in each ring.
func (c *Connections) Resting() (idle, silent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := c.idle.next; k != &c.idle; k = k.next {
		idle++
	}
	for k := c.silent.next; k != &c.silent; k = k.next {
		silent++
	}
	return idle, silent
}
