// Package recent remembers a bounded number of values that a store has recently used.
package recent

// A Map holds recently stored values in two generations. When the young generation is
// full, it becomes the old one, and the old one is forgotten. The zero value is empty and
// remembers up to twice Most values. It is not safe for concurrent use.
type Map[K comparable, V any] struct{ young, old map[K]V }

// Most is how many values a generation has; there are two.
const Most = 4096

// Get returns a value, false if it is not remembered.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.young[k]
	if !ok {
		v, ok = m.old[k]
	}
	return v, ok
}

// Put remembers a value and replaces the previous one.
func (m *Map[K, V]) Put(k K, v V) {
	if len(m.young) >= Most {
		m.young, m.old = m.old, m.young
		clear(m.young)
	}
	if m.young == nil {
		m.young = make(map[K]V)
	}
	m.young[k] = v
}

// Remove forgets a value.
func (m *Map[K, V]) Remove(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

// Clear forgets all.
func (m *Map[K, V]) Clear() {
	clear(m.young)
	clear(m.old)
}
