#!/usr/bin/env bash
# Builds golangci-lint from a module of its own: `go install` asks for version
# lists, which not every proxy gives.
set -euo pipefail
work=$1
version=v2.15.0
mkdir -p "$work/golangci-src"
cd "$work/golangci-src"
[ -e go.mod ] || go mod init scratch >/dev/null 2>&1
go mod edit -require github.com/golangci/golangci-lint/v2@$version
cat >tools.go <<-GO
	//go:build tools

	package tools

	import _ "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"
GO
go mod tidy 2>/dev/null
go build -o "$work/golangci-lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint
