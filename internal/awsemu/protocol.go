// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
)

// apiError is a refusal in AWS's words. Handlers return it; the protocol of the
// service decides how it looks on the wire.
type apiError struct {
	// Code is AWS's code, such as InvalidInstanceID.NotFound.
	Code string
	// Message is for people, and holds the ids that the real one names.
	Message string
	// Status is the HTTP status; zero means 400.
	Status int
	// Fields are further members of a JSON error, such as resourceIds.
	Fields map[string]any
	// QueryCode is the code that SQS had for it in its Query protocol, if another one.
	QueryCode string
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func (e *apiError) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// refuse returns an apiError with status 400.
func refuse(code, format string, args ...any) *apiError {
	return &apiError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// asAPIError makes an error of ours, which only a defect can cause, look like
// one of AWS's.
func asAPIError(err error) *apiError {
	var refusal *apiError
	if errors.As(err, &refusal) {
		return refusal
	}
	return &apiError{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}

// answer is a response before it is written.
type answer struct {
	status      int
	contentType string
	errorType   string
	queryError  string
	body        []byte
}

// protocol is how one service says what happened.
type protocol interface {
	result(c *call, value any) (answer, error)
	failure(c *call, err *apiError) answer
	// unknown is the refusal of an operation that isn't in the table.
	unknown(name string) *apiError
	// throttled is the refusal of a request over the limit.
	throttled() *apiError
}

func protocolOf(service string) protocol {
	switch service {
	case serviceECS:
		return jsonProtocol{}
	case serviceSQS:
		return sqsProtocol{}
	case serviceSTS:
		return stsProtocol{}
	default:
		return ec2Protocol{}
	}
}

// requestIDSetter is every EC2 response, through ec2Response.
type requestIDSetter interface{ setRequestID(id string) }

// ec2Response is embedded by every response of EC2, of which the request id is a member.
type ec2Response struct {
	RequestID string `xml:"requestId"`
}

func (r *ec2Response) setRequestID(id string) { r.RequestID = id }

// ec2Protocol is the Query protocol as EC2 speaks it:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html
type ec2Protocol struct{}

const ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

func (ec2Protocol) result(c *call, value any) (answer, error) {
	if setter, ok := value.(requestIDSetter); ok {
		setter.setRequestID(c.requestID)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	err := xml.NewEncoder(&b).EncodeElement(value, xml.StartElement{
		Name: xml.Name{Local: c.operation.name + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: ec2Namespace}},
	})
	if err != nil {
		return answer{}, fmt.Errorf("rendering %s: %w", c.operation.name, err)
	}
	return answer{status: http.StatusOK, contentType: "text/xml;charset=UTF-8", body: b.Bytes()}, nil
}

// ec2Failure is the document of
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#api-error-response
type ec2Failure struct {
	XMLName   xml.Name `xml:"Response"`
	Code      string   `xml:"Errors>Error>Code"`
	Message   string   `xml:"Errors>Error>Message"`
	RequestID string   `xml:"RequestID"`
}

func (ec2Protocol) failure(c *call, e *apiError) answer {
	return xmlAnswer(e.status(), ec2Failure{Code: e.Code, Message: e.Message, RequestID: c.requestID})
}

func (ec2Protocol) unknown(name string) *apiError {
	return refuse("InvalidAction", "The action %s is not valid for this web service.", name)
}

func (ec2Protocol) throttled() *apiError {
	return &apiError{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
}

// stsProtocol is the Query protocol as STS speaks it.
type stsProtocol struct{}

const stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

type stsEnvelope struct {
	XMLName   xml.Name
	Namespace string `xml:"xmlns,attr"`
	Result    stsResult
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

// stsResult gives the result the element name that the operation asks for.
type stsResult struct {
	name  string
	value any
}

// MarshalXML writes the value under the operation's own element.
func (r stsResult) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	return e.EncodeElement(r.value, xml.StartElement{Name: xml.Name{Local: r.name}})
}

func (stsProtocol) result(c *call, value any) (answer, error) {
	return xmlAnswer(http.StatusOK, stsEnvelope{
		XMLName:   xml.Name{Local: c.operation.name + "Response"},
		Namespace: stsNamespace,
		Result:    stsResult{name: c.operation.name + "Result", value: value},
		RequestID: c.requestID,
	}), nil
}

type stsFailure struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func (stsProtocol) failure(c *call, e *apiError) answer {
	return xmlAnswer(e.status(), stsFailure{
		Namespace: stsNamespace, Type: "Sender", Code: e.Code, Message: e.Message, RequestID: c.requestID,
	})
}

func (stsProtocol) unknown(name string) *apiError {
	return refuse("InvalidAction", "Could not find operation %s for version 2011-06-15", name)
}

func (stsProtocol) throttled() *apiError { return refuse("Throttling", "Rate exceeded") }

// xmlAnswer renders a document of ours; failing is a defect in its type.
func xmlAnswer(status int, document any) answer {
	body, err := xml.Marshal(document)
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte(err.Error())}
	}
	return answer{status: status, contentType: "text/xml;charset=UTF-8", body: append([]byte(xml.Header), body...)}
}

// jsonProtocol is AWS JSON 1.1: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
type jsonProtocol struct{}

const jsonContentType = "application/x-amz-json-1.1"

func (jsonProtocol) result(c *call, value any) (answer, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return answer{}, fmt.Errorf("rendering %s: %w", c.operation.name, err)
	}
	return answer{status: http.StatusOK, contentType: jsonContentType, body: body}, nil
}

func (jsonProtocol) failure(_ *call, e *apiError) answer {
	document := map[string]any{"__type": e.Code, "message": e.Message}
	for k, v := range e.Fields {
		document[k] = v
	}
	body, err := json.Marshal(document)
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte(err.Error())}
	}
	return answer{status: e.status(), contentType: jsonContentType, errorType: e.Code, body: body}
}

func (jsonProtocol) unknown(name string) *apiError {
	return refuse("UnknownOperationException", "The operation %s is not known to this service.", name)
}

func (jsonProtocol) throttled() *apiError { return refuse("ThrottlingException", "Rate exceeded") }
