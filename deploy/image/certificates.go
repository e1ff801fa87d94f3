package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// readCertificates reads a PEM file and refuses what would not be found out before the first call over TLS.
func readCertificates(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	count := 0
	for rest := data; ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s: block %d is a %s; only certificates go into an image", file, count+1, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", file, count+1, err)
		}
	}
	if count == 0 {
		return nil, fmt.Errorf("%s: holds no certificate in PEM", file)
	}
	return data, nil
}
