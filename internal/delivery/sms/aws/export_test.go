package aws

import (
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// CodeTables has the tables of error codes.
var CodeTables = []wire.Codes{codes}

// Sign signs a request as sign does.
func Sign(req *http.Request, body, id, secretKey, token, service, region string, at time.Time) {
	sign(req, body, keys{id: id, secret: secret.NewString(secretKey), token: secret.NewString(token)}, service, region, at)
}
