package eventexport

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ocsfVersion is the version of the schema (https://schema.ocsf.io/1.8.0).
const ocsfVersion = "1.8.0"

// The classes of the schema. The class with the number 0 is for events that no other class
// describes.
const (
	baseEvent        = 0
	accountChange    = 3001
	authentication   = 3002
	entityManagement = 3004
)

// The activities of the classes.
const (
	logon   = 1 // of authentication
	preauth = 6

	lock          = 9 // of accountChange
	enableFactor  = 10
	disableFactor = 11
	unlock        = 12

	create  = 1 // of entityManagement
	update  = 3
	remove  = 4
	disable = 9

	other = 99 // of every class
)

// A mapping is the class and the activity of a type of event.
type mapping struct {
	class, activity int
	entity          string // of entityManagement: the type of the entity
}

var mappings = map[mfa.EventType]mapping{
	mfa.ChallengeSucceeded: {authentication, logon, ""},
	mfa.ChallengeFailed:    {authentication, logon, ""},
	mfa.ChallengeRefused:   {authentication, logon, ""},
	mfa.ChallengeCreated:   {authentication, preauth, ""},
	mfa.ChallengeVoided:    {authentication, preauth, ""},

	mfa.FactorEnrolled:  {accountChange, enableFactor, ""},
	mfa.FactorDeleted:   {accountChange, disableFactor, ""},
	mfa.FactorSuspended: {accountChange, disableFactor, ""},
	mfa.FactorResumed:   {accountChange, enableFactor, ""},
	mfa.FactorLocked:    {accountChange, lock, ""},
	mfa.FactorUnlocked:  {accountChange, unlock, ""},
	mfa.UserLocked:      {accountChange, lock, ""},
	mfa.UserUnlocked:    {accountChange, unlock, ""},

	mfa.EnvironmentCreated:    {entityManagement, create, "Environment"},
	mfa.EnvironmentUpdated:    {entityManagement, update, "Environment"},
	mfa.KeyCreated:            {entityManagement, create, "API Key"},
	mfa.KeyRenamed:            {entityManagement, update, "API Key"},
	mfa.KeyRevoked:            {entityManagement, remove, "API Key"},
	mfa.EndpointCreated:       {entityManagement, create, "Webhook Endpoint"},
	mfa.EndpointUpdated:       {entityManagement, update, "Webhook Endpoint"},
	mfa.EndpointDeleted:       {entityManagement, remove, "Webhook Endpoint"},
	mfa.EndpointDisabled:      {entityManagement, disable, "Webhook Endpoint"},
	mfa.EndpointSecretRotated: {entityManagement, update, "Webhook Endpoint"},
	mfa.EndpointReplayed:      {entityManagement, other, "Webhook Endpoint"},
	mfa.KeysetRotated:         {entityManagement, update, "Keyset"},
	mfa.StoreCopied:           {entityManagement, other, "Store"},
}

// The objects of the schema, with the attributes that Countersign knows.
type (
	ocsfEvent struct {
		ActivityID   int          `json:"activity_id"`
		ActivityName string       `json:"activity_name,omitempty"` // set for the activity Other
		CategoryUID  int          `json:"category_uid"`
		ClassUID     int          `json:"class_uid"`
		TypeUID      int          `json:"type_uid"`
		SeverityID   int          `json:"severity_id"`
		Time         int64        `json:"time"` // Unix milliseconds
		Message      string       `json:"message"`
		StatusID     int          `json:"status_id,omitempty"`
		Status       string       `json:"status,omitempty"`
		StatusDetail string       `json:"status_detail,omitempty"`
		Metadata     ocsfMetadata `json:"metadata"`
		Actor        *ocsfActor   `json:"actor,omitempty"`
		User         *ocsfUser    `json:"user,omitempty"`
		AuthFactors  []ocsfFactor `json:"auth_factors,omitempty"`
		IsMFA        *bool        `json:"is_mfa,omitempty"`
		Service      *ocsfNamed   `json:"service,omitempty"`
		Entity       *ocsfEntity  `json:"entity,omitempty"`
		Source       *ocsfSource  `json:"src_endpoint,omitempty"`
		HTTPRequest  *ocsfRequest `json:"http_request,omitempty"`
		Unmapped     *ocsfRest    `json:"unmapped,omitempty"`
	}
	ocsfMetadata struct {
		Version        string      `json:"version"`
		Product        ocsfProduct `json:"product"`
		UID            string      `json:"uid"`
		EventCode      string      `json:"event_code"`
		TenantUID      string      `json:"tenant_uid"`
		CorrelationUID string      `json:"correlation_uid,omitempty"`
		LogName        string      `json:"log_name"`
		OriginalTime   string      `json:"original_time"`
	}
	ocsfProduct struct {
		Name       string `json:"name"`
		VendorName string `json:"vendor_name"`
		Version    string `json:"version,omitempty"`
	}
	ocsfActor struct {
		AppName string    `json:"app_name,omitempty"`
		AppUID  string    `json:"app_uid,omitempty"`
		User    *ocsfUser `json:"user,omitempty"`
	}
	ocsfUser struct {
		UID    string `json:"uid,omitempty"`
		Name   string `json:"name,omitempty"`
		TypeID int    `json:"type_id"`
	}
	ocsfFactor struct {
		Type   string `json:"factor_type"`
		TypeID int    `json:"factor_type_id"`
		IsTOTP *bool  `json:"is_totp,omitempty"`
	}
	ocsfNamed struct {
		Name string `json:"name"`
	}
	ocsfEntity struct {
		Name   string `json:"name,omitempty"`
		UID    string `json:"uid,omitempty"`
		Type   string `json:"type"`
		TypeID int    `json:"type_id"`
	}
	ocsfSource struct {
		IP string `json:"ip"`
	}
	ocsfRequest struct {
		UID       string `json:"uid,omitempty"`
		UserAgent string `json:"user_agent,omitempty"`
	}
	// ocsfRest has what the class has no attribute for.
	ocsfRest struct {
		Factor string `json:"factor_id,omitempty"`
		User   string `json:"user_id,omitempty"`
	}
)

// The types of a user in the schema.
const (
	unknownUser = 0
	endUser     = 1
	adminUser   = 2
)

func appendOCSF(b []byte, version, env string, e *events.Event) []byte {
	m, ok := mappings[e.Type]
	if !ok {
		m = mapping{baseEvent, other, ""}
	}
	o := ocsfEvent{
		ActivityID:  m.activity,
		CategoryUID: m.class / 1000,
		ClassUID:    m.class,
		TypeUID:     m.class*100 + m.activity,
		SeverityID:  int(severity(e.Type)),
		Time:        e.At.UnixMilli(),
		Message:     Words(e.Type),
		Metadata: ocsfMetadata{
			Version:        ocsfVersion,
			Product:        ocsfProduct{"Countersign", "Countersign", version},
			UID:            e.ID.String(),
			EventCode:      string(e.Type),
			TenantUID:      env,
			CorrelationUID: challengeID(e),
			LogName:        "events",
			OriginalTime:   e.At.UTC().Format(timeFormat),
		},
		StatusDetail: e.Reason,
		Unmapped:     &ocsfRest{Factor: factorID(e)},
	}
	if m.activity == other {
		o.ActivityName = Words(e.Type)
	}
	o.setStatus(e.Type)
	if e.IPAddress != "" {
		o.Source = &ocsfSource{e.IPAddress}
	}
	if e.Request != "" || e.UserAgent != "" {
		o.HTTPRequest = &ocsfRequest{e.Request, e.UserAgent}
	}
	if m.class != baseEvent {
		o.Actor = actorOf(e.Caller)
	}
	switch m.class {
	case authentication:
		isMFA := true
		o.IsMFA, o.Service = &isMFA, &ocsfNamed{env}
		o.User, o.AuthFactors = userOf(e), factorsOf(e.Kind)
	case accountChange:
		o.User, o.AuthFactors = userOf(e), factorsOf(e.Kind)
	case entityManagement:
		o.Entity = entityOf(m.entity, env, e)
		_, _, o.StatusDetail = eventwire.Resource(e)
	default:
		o.Source, o.HTTPRequest = nil, nil // the base event has no such attributes
		o.Unmapped.User = e.User
	}
	if *o.Unmapped == (ocsfRest{}) {
		o.Unmapped = nil
	}
	return append(appendJSON(b, o), '\n')
}

// setStatus sets the status. An administrative act is recorded when it has succeeded.
func (o *ocsfEvent) setStatus(t mfa.EventType) {
	switch {
	case outcome(t) == failure:
		o.StatusID, o.Status = 2, "Failure"
	case outcome(t) == success, o.ClassUID != baseEvent:
		o.StatusID, o.Status = 1, "Success"
	}
}

func actorOf(caller string) *ocsfActor {
	if name, ok := strings.CutPrefix(caller, "operator:"); ok {
		return &ocsfActor{User: &ocsfUser{Name: name, TypeID: adminUser}}
	}
	if caller == "" {
		return &ocsfActor{AppName: "Countersign"}
	}
	return &ocsfActor{AppUID: caller}
}

// userOf returns the user of an event. The schema requires one: for an unknown user it is
// the factor.
func userOf(e *events.Event) *ocsfUser {
	switch {
	case e.User != "":
		return &ocsfUser{UID: e.User, TypeID: endUser}
	case e.Factor != mfa.FactorID{}:
		return &ocsfUser{UID: e.Factor.String(), TypeID: unknownUser}
	}
	return &ocsfUser{Name: "unknown", TypeID: unknownUser}
}

// ocsfFactorTypes has the numbers of the types of factors.
var ocsfFactorTypes = map[mfa.FactorType]int{mfa.SMS: 1, mfa.TOTP: 7, mfa.GenericOTP: 7, mfa.WebAuthn: 10}

func factorsOf(kind mfa.FactorType) []ocsfFactor {
	if kind == "" {
		return nil
	}
	f := ocsfFactor{Type: string(kind), TypeID: ocsfFactorTypes[kind]}
	if f.TypeID == 0 {
		f.TypeID = other
	}
	if f.TypeID == ocsfFactorTypes[mfa.TOTP] {
		isTOTP := kind == mfa.TOTP
		f.IsTOTP = &isTOTP
	}
	return []ocsfFactor{f}
}

// entityOf returns the entity of an administrative event. The reason of the event begins
// with its id.
func entityOf(typ, env string, e *events.Event) *ocsfEntity {
	_, id, _ := eventwire.Resource(e)
	if id == "" {
		return &ocsfEntity{Name: env, Type: typ, TypeID: other}
	}
	return &ocsfEntity{UID: id, Type: typ, TypeID: other}
}

// appendJSON appends the JSON of v. It does not escape < > and &.
func appendJSON(b []byte, v any) []byte {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // the types above and strings always have a JSON form
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
