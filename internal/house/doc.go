// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Package house has no code, only tests about the repository as a whole: that what
// its documents name exists, that packages depend on each other one way, as the
// picture in CONTRIBUTING.md shows, and that the project files can be read.
package house
