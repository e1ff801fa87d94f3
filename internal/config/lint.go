package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
)

// Lint reports programming errors in a struct that holds defaults: types that cannot be
// decoded, keys without documentation, two paths with one environment variable, a secret
// with a default, and a default that is not read back as it was printed. It is meant for the
// test of each package that has a Config.
func Lint(cfg any) error {
	v, err := structOf(cfg)
	if err != nil {
		return err
	}
	_, faults := variablesOf(v.Type())
	paths, err := Paths(cfg)
	if err != nil {
		return errors.Join(faults, err)
	}
	for _, p := range paths {
		if p.Doc == "" {
			faults = errors.Join(faults, fmt.Errorf("config: %s: %s: no doc tag", v.Type(), p.Path))
		}
		if p.Secret && p.Default == `"`+hidden+`"` {
			faults = errors.Join(faults, fmt.Errorf("config: %s: %s: a secret with a default", v.Type(), p.Path))
		}
	}
	if faults != nil {
		return faults
	}
	return roundTrip(v, cfg)
}

func roundTrip(v reflect.Value, cfg any) error {
	var first, second bytes.Buffer
	if err := Default(&first, cfg); err != nil {
		return err
	}
	again := reflect.New(v.Type())
	root, faults := parse(first.Bytes(), first.Len())
	if faults != nil {
		return faults
	}
	l := &loader{file: "printed defaults", into: v.Type(), root: root}
	if root != nil {
		l.value(root, again.Elem(), traits{}, "")
	}
	if err := l.result(again.Elem()); err != nil {
		return err
	}
	if err := Default(&second, again.Interface()); err != nil {
		return err
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		return fmt.Errorf("config: %s: the printed defaults are not read back as they were", v.Type())
	}
	return nil
}
