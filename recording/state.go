package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"unsafe"
)

// A value machine is its fields. The functions of this file write and read all of them, unexported ones
// included, by reflection: a field that is added to the arbiter or a tracker tomorrow cannot be forgotten
// here, which would show as a replay that differs in one case of a thousand. Pointers are followed as
// owned values, floating-point numbers are kept bit for bit, maps are written in the order of their
// encoded keys.

// errState marks bytes that are not a state of the type that is asked for.
var errState = errors.New("not a state of this version")

// appendValue appends the encoding of v, which shape accepts.
func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case reflect.String:
		return append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
		return b
	case reflect.Array:
		return appendElements(b, v)
	case reflect.Slice:
		return appendElements(appendLength(b, v), v)
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	case reflect.Map:
		return appendMap(appendLength(b, v), v)
	default:
		panic("recording: a state holds a " + v.Type().String())
	}
}

// appendLength tells a nil slice or map from an empty one.
func appendLength(b []byte, v reflect.Value) []byte {
	if v.IsNil() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(v.Len())+1)
}

func appendElements(b []byte, v reflect.Value) []byte {
	for i := range v.Len() {
		b = appendValue(b, v.Index(i))
	}
	return b
}

func appendMap(b []byte, v reflect.Value) []byte {
	pairs := make([][]byte, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		pairs = append(pairs, appendValue(appendValue(nil, it.Key()), it.Value()))
	}
	slices.SortFunc(pairs, bytes.Compare)
	return append(b, bytes.Join(pairs, nil)...)
}

// decoder reads what appendValue wrote. The first error sticks and everything after reads as zero.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errState
	}
	d.rest = nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// value fills v, which must be addressable.
func (d *decoder) value(v reflect.Value) {
	if d.err != nil {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(d.byte() == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := d.varint()
		if v.OverflowInt(n) {
			d.fail()
			return
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := d.uvarint()
		if v.OverflowUint(n) {
			d.fail()
			return
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		if b := d.take(8); b != nil {
			v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case reflect.String:
		v.SetString(string(d.take(d.uvarint())))
	default:
		d.compound(v)
	}
}

func (d *decoder) compound(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			d.value(writable(v.Field(i)))
		}
	case reflect.Array:
		d.elements(v)
	case reflect.Slice:
		if n, ok := d.length(); ok {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			d.elements(v)
		}
	case reflect.Pointer:
		if d.byte() == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			d.value(v.Elem())
		}
	case reflect.Map:
		n, ok := d.length()
		if !ok {
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), n))
		for range n {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			d.value(key)
			d.value(elem)
			v.SetMapIndex(key, elem)
		}
	default:
		d.fail()
	}
}

func (d *decoder) elements(v reflect.Value) {
	for i := range v.Len() {
		d.value(v.Index(i))
	}
}

// length returns the length of a slice or map, false for nil. Each element takes at least a byte, so
// that damaged bytes cannot ask for more memory than they are.
func (d *decoder) length() (int, bool) {
	n := d.uvarint()
	if n == 0 || n-1 > uint64(len(d.rest)) {
		if n != 0 {
			d.fail()
		}
		return 0, false
	}
	return int(n - 1), true
}

// writable gives access to a field that is not exported.
func writable(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem() //nolint:gosec // its own type at its own address
}

// encodeState returns all of *machine.
func encodeState[T any](machine *T) []byte {
	return appendValue(nil, reflect.ValueOf(machine).Elem())
}

// decodeState returns the machine whose state b is.
func decodeState[T any](b []byte) (*T, error) {
	machine := new(T)
	d := decoder{rest: b}
	d.value(reflect.ValueOf(machine).Elem())
	if d.err != nil {
		return nil, d.err
	}
	if len(d.rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errState, len(d.rest))
	}
	return machine, nil
}

// digest is short enough for every tick of every day and long enough that no difference is missed.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// layout describes a type down to its last field, or says what in it cannot be recorded.
func layout(t reflect.Type, within map[reflect.Type]bool) (string, error) {
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Interface, reflect.UnsafePointer, reflect.Uintptr, reflect.Complex64, reflect.Complex128, reflect.Invalid:
		return "", fmt.Errorf("%v cannot be recorded", t)
	case reflect.Slice, reflect.Pointer, reflect.Array:
		elem, err := layout(t.Elem(), within)
		return fmt.Sprintf("%v %d of %s", t.Kind(), lengthOf(t), elem), err
	case reflect.Map:
		key, err := layout(t.Key(), within)
		elem, err2 := layout(t.Elem(), within)
		return fmt.Sprintf("map %s to %s", key, elem), errors.Join(err, err2)
	case reflect.Struct:
		return layoutStruct(t, within)
	default:
		return t.Kind().String(), nil
	}
}

func layoutStruct(t reflect.Type, within map[reflect.Type]bool) (string, error) {
	if within[t] {
		return "", fmt.Errorf("%v contains itself", t)
	}
	within[t] = true
	defer delete(within, t)
	text := "{"
	for i := range t.NumField() {
		f := t.Field(i)
		inner, err := layout(f.Type, within)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		text += f.Name + " " + inner + ";"
	}
	return text + "}", nil
}

func lengthOf(t reflect.Type) int {
	if t.Kind() == reflect.Array {
		return t.Len()
	}
	return 0
}
