package sources

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Optional is a value that a source may not have told us. The zero Optional is absent, so that a
// missing value can never be taken for 0. In JSON an absent value is null.
type Optional[T comparable] struct {
	value   T
	present bool
}

// Some returns a present value.
func Some[T comparable](v T) Optional[T] { return Optional[T]{value: v, present: true} }

// None returns an absent value.
func None[T comparable]() Optional[T] { return Optional[T]{} }

// Get returns the value and whether it is present.
func (o Optional[T]) Get() (T, bool) { return o.value, o.present }

// Pointer returns the value where it is, nil where it is absent: for large values that are only read.
func (o *Optional[T]) Pointer() *T {
	if !o.present {
		return nil
	}
	return &o.value
}

// Present reports whether there is a value.
func (o Optional[T]) Present() bool { return o.present }

// Or returns the value, or def where it is absent.
func (o Optional[T]) Or(def T) T {
	if o.present {
		return o.value
	}
	return def
}

// Is reports whether the value is present and equal to v.
func (o Optional[T]) Is(v T) bool { return o.present && o.value == v }

// Equal reports whether both are absent, or both present with the same value.
func (o Optional[T]) Equal(p Optional[T]) bool { return o == p }

// String formats the value with %v, or "-" where it is absent.
func (o Optional[T]) String() string {
	if !o.present {
		return "-"
	}
	return fmt.Sprint(o.value)
}

// MarshalJSON encodes an absent value as null.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if !o.present {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads null as absent.
func (o *Optional[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		*o = Optional[T]{}
		return nil
	}
	if err := json.Unmarshal(b, &o.value); err != nil {
		return err
	}
	o.present = true
	return nil
}
