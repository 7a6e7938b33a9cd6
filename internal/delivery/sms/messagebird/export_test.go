package messagebird

import "github.com/countersign-mfa/countersign/internal/delivery/sms/wire"

// CodeTables has the tables of error codes.
var CodeTables = []wire.Codes{codes, failureCodes}
