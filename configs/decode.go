package configs

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills a Config from a TOML tree by the rules of the schema. What is wrong is reported
// and replaced by its default, so that one error never hides another.
type decoder struct {
	*report
	rules map[string]Rule
}

func decode(tree map[string]any, r *report) *Config {
	d := decoder{report: r, rules: map[string]Rule{}}
	for _, rule := range Schema() {
		d.rules[rule.Key] = rule
	}
	c := new(Config)
	d.table(reflect.ValueOf(c).Elem(), tree, "", "")
	d.derive(c)
	return c
}

// derive fills the defaults that follow from other keys.
func (d decoder) derive(c *Config) {
	if c.Paths.StatusSocket == "" {
		c.Paths.StatusSocket = strings.TrimSuffix(c.Paths.RunDir, "/") + "/status.sock"
	}
	if c.Record.Dir == "" {
		c.Record.Dir = strings.TrimSuffix(c.Paths.StateDir, "/") + "/recordings"
	}
	if len(c.NTP.Allow) > 0 && !d.lines.has("ntp.port") {
		c.NTP.Port = 123 // RFC 5905 7.2
	}
	if n := possibleSources(c); n > 0 && !d.lines.has("clock.step.min_agreement") {
		c.Clock.Step.MinAgreement = min(c.Clock.Step.MinAgreement, n)
	}
}

// field is one key of a table and where it goes.
type field struct {
	name  string
	value reflect.Value
}

// fields lists the keys of a struct; those of an embedded struct are its own.
func fields(v reflect.Value) []field {
	var fs []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fs = append(fs, fields(v.Field(i))...)
			continue
		}
		fs = append(fs, field{name: f.Tag.Get("toml"), value: v.Field(i)})
	}
	return fs
}

// table fills a struct. key is the table's key in the file, rule its key in the schema.
func (d decoder) table(into reflect.Value, tree map[string]any, key, rule string) {
	known := fields(into)
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		if !slices.ContainsFunc(known, func(f field) bool { return f.name == name }) {
			d.unknown(known, name, key, rule)
		}
	}
	for _, f := range known {
		fkey, frule := member(key, f.name), member(rule, f.name)
		raw, given := tree[f.name]
		if !given {
			d.missing(f.value, fkey, frule)
			continue
		}
		d.value(f.value, raw, fkey, frule)
	}
}

func (d decoder) unknown(known []field, name, key, rule string) {
	problem := "unknown key"
	if hint := d.suggest(known, name, rule); hint != "" {
		problem += "; did you mean " + hint + "?"
	}
	d.add(member(key, name), "", problem, "")
}

// missing fills in the default of a key that the file does not give.
func (d decoder) missing(into reflect.Value, key, rule string) {
	switch {
	case into.Kind() == reflect.Struct:
		d.table(into, nil, key, rule)
	case d.rules[rule].Required:
		d.add(key, "", "missing", d.rules[rule].Limit.String())
	default:
		d.setDefault(into, rule)
	}
}

// setDefault stores the default of a rule; that of an array is none of its elements'.
func (d decoder) setDefault(into reflect.Value, rule string) {
	def := d.rules[rule].Default
	elements, list := def.([]any)
	switch {
	case list && into.Kind() == reflect.Slice:
		d.strings(into, elements, rule, rule)
	case list, def == nil:
	default:
		if err := d.scalar(into, def); err != nil {
			panic(fmt.Sprintf("default of %s: %v", rule, err))
		}
	}
}

// value fills one key that the file gives.
func (d decoder) value(into reflect.Value, raw any, key, rule string) {
	switch {
	case into.Kind() == reflect.Struct:
		tree, ok := raw.(map[string]any)
		if !ok {
			d.add(key, "", "is "+kindOf(raw)+", not a table", "")
		}
		d.table(into, tree, key, rule)
	case into.Kind() == reflect.Slice && into.Type().Elem().Kind() == reflect.Struct:
		d.tables(into, raw, key, rule)
	case into.Kind() == reflect.Slice:
		d.strings(into, raw, key, rule)
	case into.Kind() == reflect.Map:
		d.stringTable(into, raw, key, rule)
	default:
		d.checked(into, raw, key, rule)
	}
}

// checked fills a scalar if it has the right type and is allowed.
func (d decoder) checked(into reflect.Value, raw any, key, rule string) {
	limit := d.rules[rule].Limit
	allowed := ""
	if limit != nil {
		allowed = limit.String()
	}
	before := len(d.errs)
	if s, ok := raw.(string); ok && !isPlain(s) {
		d.add(key, quoteValue(raw), "control characters and quotes are refused: they could add a line to a rendered configuration", allowed)
	} else if err := d.scalar(into, raw); err != nil {
		d.add(key, quoteValue(raw), err.Error(), allowed)
	} else if limit != nil && !limit.Allows(forLimit(into, raw)) && !d.isEmptyDefault(raw, rule) {
		d.add(key, quoteValue(raw), "", allowed)
	}
	if len(d.errs) > before {
		into.SetZero()
		d.setDefault(into, rule)
	}
}

// isEmptyDefault: an empty string may be written out where it is the default.
func (d decoder) isEmptyDefault(raw any, rule string) bool {
	return raw == "" && d.rules[rule].Default == ""
}

// forLimit is a scalar as a Limit takes it. Whole numbers are taken as the file has them, before
// they are fitted into a narrower type.
func forLimit(v reflect.Value, raw any) any {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if d, ok := v.Interface().(Duration); ok {
		return d.Std()
	}
	if v.CanInt() || v.CanUint() {
		return raw
	}
	return v.Interface()
}

var durationType = reflect.TypeFor[Duration]()

// scalar stores raw if it has the type of into.
func (d decoder) scalar(into reflect.Value, raw any) error {
	if into.Kind() == reflect.Pointer {
		v := reflect.New(into.Type().Elem())
		if err := d.scalar(v.Elem(), raw); err != nil {
			return err
		}
		into.Set(v)
		return nil
	}
	if into.Type() == durationType {
		return scalarDuration(into, raw)
	}
	switch into.Kind() {
	case reflect.Bool:
		return assign(raw, "true or false", into.SetBool)
	case reflect.String:
		return assign(raw, "a string", into.SetString)
	case reflect.Float64:
		if n, ok := raw.(int64); ok {
			raw = float64(n) // 400 is as good as 400.0
		}
		return assign(raw, "a number", into.SetFloat)
	case reflect.Uint32:
		return assign(raw, "a whole number", func(n int64) { into.SetUint(uint64(uint32(n))) })
	default:
		return assign(raw, "a whole number", into.SetInt)
	}
}

func assign[T any](raw any, want string, set func(T)) error {
	v, ok := raw.(T)
	if !ok {
		return fmt.Errorf("is %s, not %s", kindOf(raw), want)
	}
	set(v)
	return nil
}

func scalarDuration(into reflect.Value, raw any) error {
	s, ok := raw.(string)
	if !ok {
		return fmt.Errorf(`is %s, not a string with a unit such as "250ms"`, kindOf(raw))
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New(`is not a duration such as "250ms", "1.5s" or "24h"`)
	}
	into.SetInt(int64(v))
	return nil
}

// tables fills an array of tables.
func (d decoder) tables(into reflect.Value, raw any, key, rule string) {
	elements, ok := elementsOf(raw)
	if !ok {
		d.add(key, "", fmt.Sprintf("is %s, not an array of tables; write [[%s]]", kindOf(raw), rule), "")
		return
	}
	for i, e := range elements {
		v := reflect.New(into.Type().Elem()).Elem()
		if tree, ok := e.(map[string]any); ok {
			d.table(v, tree, element(key, i), rule)
		} else {
			d.add(element(key, i), quoteValue(e), "is "+kindOf(e)+", not a table", "")
		}
		into.Set(reflect.Append(into, v)) // also a broken one: it keeps the others' indices
	}
}

// strings fills an array of strings.
func (d decoder) strings(into reflect.Value, raw any, key, rule string) {
	elements, ok := elementsOf(raw)
	if !ok {
		d.add(key, quoteValue(raw), "is "+kindOf(raw)+", not an array of strings", "")
		return
	}
	for i, e := range elements {
		v := reflect.New(into.Type().Elem()).Elem()
		d.checked(v, e, element(key, i), rule)
		into.Set(reflect.Append(into, v))
	}
}

// stringTable fills a table of strings; numbers and booleans are taken as they stand, so that
// `hybrid_e2e = 1` is as good as `hybrid_e2e = "1"`.
func (d decoder) stringTable(into reflect.Value, raw any, key, rule string) {
	tree, ok := raw.(map[string]any)
	if !ok {
		d.add(key, quoteValue(raw), "is "+kindOf(raw)+", not a table", "")
		return
	}
	if len(tree) == 0 {
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		e := tree[name]
		if n, ok := e.(int64); ok {
			e = strconv.FormatInt(n, 10)
		}
		v := reflect.New(into.Type().Elem()).Elem()
		d.checked(v, e, member(key, name), rule)
		into.SetMapIndex(reflect.ValueOf(name), v)
	}
}

func elementsOf(raw any) ([]any, bool) {
	switch raw := raw.(type) {
	case []any:
		return raw, true
	case []map[string]any:
		elements := make([]any, len(raw))
		for i, e := range raw {
			elements[i] = e
		}
		return elements, true
	default:
		return nil, false
	}
}

// kindOf names the TOML type of a value.
func kindOf(raw any) string {
	switch raw.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	default:
		return "an array"
	}
}

// maxQuoted is how much of a string value an error repeats, in bytes.
const maxQuoted = 60

// quoteValue writes a scalar as TOML would, on one line, and nothing else.
func quoteValue(raw any) string {
	switch raw := raw.(type) {
	case string:
		if len(raw) > maxQuoted {
			return strconv.Quote(strings.ToValidUTF8(raw[:maxQuoted], "")) + "..."
		}
		return strconv.Quote(raw)
	case float64:
		return tomlFloat(raw)
	case int64, bool:
		return fmt.Sprint(raw)
	case time.Time:
		return raw.Format(time.RFC3339)
	default:
		return ""
	}
}

// tomlFloat writes a float so that it reads as one: "1.0", "nan", "+inf".
func tomlFloat(f float64) string {
	s := strings.ToLower(formatFloat(f))
	if strings.IndexFunc(s, func(r rune) bool { return r != '-' && (r < '0' || r > '9') }) < 0 {
		s += ".0"
	}
	return s
}
