package hardening

import (
	"context"
	"log/slog"
	"os"
	"runtime"
)

// Start logs what the binary is linked to. In hardened mode it returns a [*RefusedError] if the environment of the
// process holds a variable that is refused. It reads the head of the binary and starts nothing.
func Start(cfg Config, log *slog.Logger) error {
	found := judge(processEnvironment())
	attrs := []slog.Attr{slog.Bool("hardened", cfg.Enabled)}
	if l, err := ownLinkage(); err != nil {
		// Who runs us without /proc, or on another system, gets no answer rather than no service.
		attrs = append(attrs, slog.String("libc", libcUnknown), slog.String("because", err.Error()))
	} else {
		attrs = append(attrs, slog.String("libc", l.libc), slog.Bool("static", l.static()))
		if !l.static() {
			attrs = append(attrs, slog.String("interpreter", l.interpreter), slog.Any("needed", l.needed))
		}
	}
	if len(found) > 0 {
		attrs = append(attrs, slog.Any("variables", names(found)))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "linked", attrs...)
	if !cfg.Enabled || len(found) == 0 {
		return nil
	}
	return &RefusedError{Variables: names(found), found: found}
}

// ownLinkage is that of the running binary. On Linux it is asked of the kernel, as a name may lead elsewhere by now.
func ownLinkage() (linkage, error) {
	file := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if file, err = os.Executable(); err != nil {
			return linkage{}, err
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return linkage{}, err
	}
	defer f.Close()
	return readLinkage(f)
}
