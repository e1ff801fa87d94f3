package app

import (
	"io"

	"github.com/dougong-io/dougong/internal/config"
)

// LoadConfig reads a configuration file, which may be empty, over the defaults, lets DOUGONG_ variables
// of the environment override it, and validates the whole. The error lists every fault.
func LoadConfig(file string, data []byte, environ []string) (Config, error) {
	cfg := DefaultConfig()
	if err := config.Load(file, data, environ, &cfg); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// WriteDefaultConfig prints the whole configuration with its defaults and what each key is for.
func WriteDefaultConfig(w io.Writer) error {
	cfg := DefaultConfig()
	return config.Default(w, &cfg)
}

// decodeYAML is what services read their own files with. They bound what they read themselves.
func decodeYAML(file string, data []byte, into any) error {
	return config.Decode(file, data, into, config.MaxBytes(len(data)))
}
