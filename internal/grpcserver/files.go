package grpcserver

import (
	"log/slog"

	"github.com/dougong-io/dougong/internal/auth"
)

func (s *Server) loadTokens() error {
	tokens, err := auth.Load(s.cfg.TokensFile)
	if err != nil {
		return err
	}
	if open, err := auth.TooOpen(s.cfg.TokensFile); err == nil && open {
		s.log.Warn("everyone on this machine can access the tokens file: chmod 600 it", slog.String("file", s.cfg.TokensFile))
	}
	s.tokens.Store(tokens)
	return nil
}
