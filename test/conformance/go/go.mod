module github.com/countersign-mfa/countersign/test/conformance/go

go 1.26.0

require (
	github.com/workos/workos-go v1.21.0
	github.com/workos/workos-go/v4 v4.46.1
	github.com/workos/workos-go/v6 v6.5.0
	github.com/workos/workos-go/v9 v9.6.0
)

require (
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
)
