package hardening

// Config says whether the environment is judged.
type Config struct {
	Enabled bool `json:"enabled" doc:"Refuse to start while LD_PRELOAD, LD_LIBRARY_PATH, GODEBUG or another variable is set that changes the process from outside; see docs/image.md. On in the image."`
}

// DefaultConfig is off: on a developer's machine such variables are tools.
func DefaultConfig() Config { return Config{} }
