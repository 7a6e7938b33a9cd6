// Package recent keeps a limited number of values that a store has recently used.
package recent

// A Map holds recently used values in two generations. When the young generation is
// full, it becomes the old generation and the previous old generation is dropped. The
// zero value is an empty map, ready to use. A Map holds up to twice Most values. It is
// not safe for concurrent use.
type Map[K comparable, V any] struct{ young, old map[K]V }

// Most is the largest number of values in one generation.
const Most = 4096

// Get returns the value of k, or false if the map does not hold it.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.young[k]
	if !ok {
		v, ok = m.old[k]
	}
	return v, ok
}

// Put adds a value or replaces the previous one.
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

// Remove removes a value.
func (m *Map[K, V]) Remove(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

// Clear removes all values.
func (m *Map[K, V]) Clear() {
	clear(m.young)
	clear(m.old)
}
