// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"strconv"
	"strings"
)

type describeInstancesResponse struct {
	ec2Response
	Reservations []reservationXML `xml:"reservationSet>item"`
	NextToken    string           `xml:"nextToken,omitempty"`
}

type runInstancesResponse struct {
	ec2Response
	reservationXML
}

type reservationXML struct {
	ID        string        `xml:"reservationId"`
	OwnerID   string        `xml:"ownerId"`
	Groups    []groupXML    `xml:"groupSet>item"`
	Instances []instanceXML `xml:"instancesSet>item"`
}

type instanceXML struct {
	ID               string         `xml:"instanceId"`
	ImageID          string         `xml:"imageId"`
	State            stateXML       `xml:"instanceState"`
	PrivateDNS       string         `xml:"privateDnsName"`
	PublicDNS        string         `xml:"dnsName"`
	Transition       string         `xml:"reason"`
	KeyName          string         `xml:"keyName,omitempty"`
	LaunchIndex      int            `xml:"amiLaunchIndex"`
	Type             string         `xml:"instanceType"`
	LaunchTime       string         `xml:"launchTime"`
	Zone             string         `xml:"placement>availabilityZone"`
	ZoneID           string         `xml:"placement>availabilityZoneId"`
	PlacementGroup   string         `xml:"placement>groupName"`
	Tenancy          string         `xml:"placement>tenancy"`
	Monitoring       string         `xml:"monitoring>state"`
	SubnetID         string         `xml:"subnetId,omitempty"`
	VPCID            string         `xml:"vpcId,omitempty"`
	PrivateIP        string         `xml:"privateIpAddress,omitempty"`
	PublicIP         string         `xml:"ipAddress,omitempty"`
	SourceDestCheck  bool           `xml:"sourceDestCheck"`
	Groups           []groupXML     `xml:"groupSet>item"`
	Reason           *reasonXML     `xml:"stateReason"`
	Architecture     string         `xml:"architecture"`
	RootDeviceType   string         `xml:"rootDeviceType"`
	RootDeviceName   string         `xml:"rootDeviceName"`
	Devices          []deviceXML    `xml:"blockDeviceMapping>item"`
	Virtualization   string         `xml:"virtualizationType"`
	ClientToken      string         `xml:"clientToken"`
	Tags             []tagXML       `xml:"tagSet>item"`
	Hypervisor       string         `xml:"hypervisor"`
	Interfaces       []interfaceXML `xml:"networkInterfaceSet>item"`
	Profile          *profileXML    `xml:"iamInstanceProfile"`
	EBSOptimized     bool           `xml:"ebsOptimized"`
	ENA              bool           `xml:"enaSupport"`
	Lifecycle        string         `xml:"instanceLifecycle,omitempty"`
	SpotRequest      string         `xml:"spotInstanceRequestId,omitempty"`
	Cores            int            `xml:"cpuOptions>coreCount"`
	ThreadsPerCore   int            `xml:"cpuOptions>threadsPerCore"`
	MetadataState    string         `xml:"metadataOptions>state"`
	MetadataTokens   string         `xml:"metadataOptions>httpTokens"`
	MetadataHops     int            `xml:"metadataOptions>httpPutResponseHopLimit"`
	MetadataEndpoint string         `xml:"metadataOptions>httpEndpoint"`
	MetadataTags     string         `xml:"metadataOptions>instanceMetadataTags"`
	Platform         string         `xml:"platformDetails"`
}

type reasonXML struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type profileXML struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type deviceXML struct {
	Name                string `xml:"deviceName"`
	VolumeID            string `xml:"ebs>volumeId"`
	Status              string `xml:"ebs>status"`
	AttachTime          string `xml:"ebs>attachTime"`
	DeleteOnTermination bool   `xml:"ebs>deleteOnTermination"`
}

type interfaceXML struct {
	ID              string          `xml:"networkInterfaceId"`
	SubnetID        string          `xml:"subnetId"`
	VPCID           string          `xml:"vpcId"`
	OwnerID         string          `xml:"ownerId"`
	Status          string          `xml:"status"`
	PrivateIP       string          `xml:"privateIpAddress"`
	SourceDestCheck bool            `xml:"sourceDestCheck"`
	Groups          []groupXML      `xml:"groupSet>item"`
	DeviceIndex     int             `xml:"attachment>deviceIndex"`
	Attachment      string          `xml:"attachment>status"`
	DeleteWithHost  bool            `xml:"attachment>deleteOnTermination"`
	Association     *associationXML `xml:"association"`
}

type associationXML struct {
	PublicIP  string `xml:"publicIp"`
	PublicDNS string `xml:"publicDnsName"`
	OwnerID   string `xml:"ipOwnerId"`
}

// reservation is the answer of RunInstances.
func (r *region) reservation(l *launch) *runInstancesResponse {
	out := &runInstancesResponse{reservationXML: reservationXML{ID: l.reservationID, OwnerID: r.account}}
	for _, i := range l.instances {
		out.Instances = append(out.Instances, i.xml(r))
	}
	return out
}

// describeInstances lists hosts by id or by filter, grouped by the call that
// launched them. Pages hold the oldest first.
func describeInstances(c *call) (any, error) {
	ids := c.list("InstanceId")
	if len(ids) > 0 && c.form.Has("MaxResults") {
		return nil, refuse("InvalidParameterCombination",
			"The parameter instancesSet cannot be used with the parameter maxResults")
	}
	candidates, err := c.candidates(ids)
	if err != nil {
		return nil, err
	}
	page, next, err := c.pageOfInstances(candidates, (*instance).filterValues, nil)
	if err != nil {
		return nil, err
	}
	out := &describeInstancesResponse{NextToken: next}
	byID := map[string]int{}
	for _, i := range page {
		n, seen := byID[i.reservationID]
		if !seen {
			n = len(out.Reservations)
			byID[i.reservationID] = n
			out.Reservations = append(out.Reservations, reservationXML{ID: i.reservationID, OwnerID: c.region.account})
		}
		out.Reservations[n].Instances = append(out.Reservations[n].Instances, i.xml(c.region))
	}
	return out, nil
}

// candidates are the instances named, or all.
func (c *call) candidates(ids []string) ([]*instance, error) {
	if len(ids) == 0 {
		return c.region.ec2.order, nil
	}
	return c.region.findInstances(ids, true)
}

// pageOfInstances filters and cuts a page. The token is the number of the last
// instance shown, so that those forgotten meanwhile shift nothing.
func (c *call) pageOfInstances(
	candidates []*instance, values func(*instance, *region, string) ([]string, bool), also func(*instance) bool,
) (page []*instance, next string, err error) {
	filters, err := c.filters()
	if err != nil {
		return nil, "", err
	}
	size, last, err := c.pageSize(5, 1000)
	if err != nil {
		return nil, "", err
	}
	for _, i := range candidates {
		if i.number <= last || c.now.Before(i.visibleFrom) || (also != nil && !also(i)) {
			continue
		}
		matched, err := filters.match(func(name string) ([]string, bool) { return values(i, c.region, name) })
		if err != nil {
			return nil, "", err
		}
		if !matched {
			continue
		}
		if size > 0 && len(page) == size {
			return page, encodeToken(page[size-1].number), nil
		}
		page = append(page, i)
	}
	return page, "", nil
}

// filterValues answers the filters of DescribeInstances.
func (i *instance) filterValues(r *region, name string) ([]string, bool) {
	one := func(v string) ([]string, bool) { return []string{v}, true }
	read, ok := instanceFilters[name]
	if ok {
		return one(read(i, r))
	}
	switch name {
	case "instance.group-id", "group-id", "network-interface.group-id":
		ids := make([]string, 0, len(i.groups))
		for _, g := range i.groups {
			ids = append(ids, g.id)
		}
		return ids, true
	default:
		return tagValues(i.tags, name)
	}
}

// instanceFilters are the fields of one value that can be filtered by.
var instanceFilters = map[string]func(*instance, *region) string{
	"instance-id":              func(i *instance, _ *region) string { return i.id },
	"instance-state-name":      func(i *instance, _ *region) string { return string(i.state) },
	"instance-state-code":      func(i *instance, _ *region) string { return strconv.Itoa(i.state.code()) },
	"client-token":             func(i *instance, _ *region) string { return i.clientToken },
	"instance-type":            func(i *instance, _ *region) string { return i.typ.name },
	"subnet-id":                func(i *instance, _ *region) string { return i.subnetID },
	"vpc-id":                   func(_ *instance, r *region) string { return r.ec2.vpcID },
	"availability-zone":        func(i *instance, _ *region) string { return i.zone },
	"availability-zone-id":     func(i *instance, r *region) string { return r.zoneID(i.zone) },
	"image-id":                 func(i *instance, _ *region) string { return i.imageID },
	"private-ip-address":       func(i *instance, _ *region) string { return i.privateIP },
	"ip-address":               func(i *instance, _ *region) string { return i.publicIP },
	"reservation-id":           func(i *instance, _ *region) string { return i.reservationID },
	"launch-index":             func(i *instance, _ *region) string { return strconv.Itoa(i.launchIndex) },
	"launch-time":              func(i *instance, _ *region) string { return timeXML(i.launchTime) },
	"key-name":                 func(i *instance, _ *region) string { return i.keyName },
	"architecture":             func(i *instance, _ *region) string { return i.architecture },
	"owner-id":                 func(_ *instance, r *region) string { return r.account },
	"instance-lifecycle":       func(i *instance, _ *region) string { return i.lifecycle() },
	"state-reason-code":        func(i *instance, _ *region) string { return i.reason.code },
	"iam-instance-profile.arn": func(i *instance, _ *region) string { return i.profile },
	"spot-instance-request-id": func(i *instance, _ *region) string { return i.spotRequest },
}

// lifecycle is empty for an on-demand instance, as AWS has it.
func (i *instance) lifecycle() string {
	if i.spot {
		return "spot"
	}
	return ""
}

func (i *instance) xml(r *region) instanceXML {
	x := instanceXML{
		ID: i.id, ImageID: i.imageID, State: i.state.xml(), Transition: i.transition, KeyName: i.keyName,
		PrivateDNS: privateDNS(i.privateIP, r), PublicDNS: publicDNS(i.publicIP, r),
		LaunchIndex: i.launchIndex, Type: i.typ.name, LaunchTime: timeXML(i.launchTime),
		Zone: i.zone, ZoneID: r.zoneID(i.zone), Tenancy: "default", Monitoring: "disabled",
		Architecture: i.architecture, RootDeviceType: "ebs", RootDeviceName: i.rootDevice, Virtualization: "hvm",
		ClientToken: i.clientToken, Tags: tagsXML(i.tags), Hypervisor: "xen", ENA: true,
		Lifecycle: i.lifecycle(), SpotRequest: i.spotRequest,
		Cores: i.typ.vcpus / i.typ.threadsPerCPU, ThreadsPerCore: i.typ.threadsPerCPU, Platform: "Linux/UNIX",
		MetadataState: "applied", MetadataTokens: i.metadata.tokens, MetadataHops: i.metadata.hopLimit,
		MetadataEndpoint: i.metadata.endpoint, MetadataTags: i.metadata.tags,
	}
	if i.profile != "" {
		x.Profile = &profileXML{ARN: i.profile, ID: "AIPA" + strings.ToUpper(strings.TrimPrefix(i.id, "i-"))}
	}
	if i.reason.code != "" {
		x.Reason = &reasonXML{Code: i.reason.code, Message: i.reason.message}
	}
	if i.state != stateTerminated {
		i.attachedXML(r, &x)
	}
	return x
}

// attachedXML adds what an instance has until it is terminated: network and disks.
func (i *instance) attachedXML(r *region, x *instanceXML) {
	x.SubnetID, x.VPCID, x.PrivateIP, x.PublicIP, x.SourceDestCheck = i.subnetID, r.ec2.vpcID, i.privateIP, i.publicIP, true
	for _, g := range i.groups {
		x.Groups = append(x.Groups, groupXML{ID: g.id, Name: g.name})
	}
	for _, d := range i.devices {
		x.Devices = append(x.Devices, deviceXML{
			Name: d.name, VolumeID: d.volumeID, Status: "attached", AttachTime: timeXML(i.launchTime),
			DeleteOnTermination: d.deleteOnTermination,
		})
	}
	nic := interfaceXML{
		ID: i.interfaceID, SubnetID: i.subnetID, VPCID: r.ec2.vpcID, OwnerID: r.account, Status: "in-use",
		PrivateIP: i.privateIP, SourceDestCheck: true, Groups: x.Groups, Attachment: "attached", DeleteWithHost: true,
	}
	if i.publicIP != "" {
		nic.Association = &associationXML{PublicIP: i.publicIP, PublicDNS: publicDNS(i.publicIP, r), OwnerID: "amazon"}
	}
	x.Interfaces = []interfaceXML{nic}
}

func privateDNS(ip string, r *region) string {
	if ip == "" {
		return ""
	}
	return "ip-" + strings.ReplaceAll(ip, ".", "-") + "." + r.name + ".compute.internal"
}

func publicDNS(ip string, r *region) string {
	if ip == "" {
		return ""
	}
	return "ec2-" + strings.ReplaceAll(ip, ".", "-") + "." + r.name + ".compute.amazonaws.com"
}
