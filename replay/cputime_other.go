// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package replay

import "time"

// cpuTime is not known here, so the process never counts as busy.
func cpuTime() time.Duration { return 0 }
