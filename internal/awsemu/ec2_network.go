// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"fmt"
	"slices"
	"strings"
)

// regionNames are what DescribeRegions lists. State exists for any other name too.
var regionNames = []string{
	"ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1",
	"eu-north-1", "eu-west-1", "eu-west-2", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

// subnetSize is how many addresses a /20 leaves: AWS keeps five for itself, see
// https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
const subnetSize = 4096 - 5

// newEC2State makes the default VPC with a subnet in each of three zones, its
// default security group and the images that exist from the start.
func newEC2State(r *region, images []Image) ec2State {
	s := ec2State{
		vpcID:        r.newID("vpc"),
		images:       map[string]*machineImage{},
		instances:    map[string]*instance{},
		launches:     map[string]*launch{},
		templates:    map[string]*launchTemplate{},
		spotRequests: map[string]*spotRequest{},
	}
	for i, letter := range []string{"a", "b", "c"} {
		zone := r.name + letter
		s.zones = append(s.zones, zone)
		s.subnets = append(s.subnets, &subnet{
			id: r.newID("subnet"), zone: zone, cidr: fmt.Sprintf("172.31.%d.0/20", i*16), third: i * 16,
			addresses: map[int]bool{}, tags: copied(r.srv.networkTags),
		})
	}
	s.groups = []*securityGroup{{
		id: r.newID("sg"), name: "default", description: "default VPC security group", tags: copied(r.srv.networkTags),
	}}
	for _, image := range append([]Image{{ID: DefaultImageID, Name: "default"}}, images...) {
		s.addImage(r, image)
	}
	return s
}

// takeAddress gives out a free address; ok is false when the subnet is full.
func (s *subnet) takeAddress() (address string, ok bool) {
	if len(s.addresses) >= subnetSize {
		return "", false
	}
	// The first four addresses are AWS's.
	for s.next < 4 || s.next > 4094 || s.addresses[s.next] {
		s.next = (s.next + 1) % 4096
	}
	s.addresses[s.next] = true
	return fmt.Sprintf("172.31.%d.%d", s.third+s.next/256, s.next%256), true
}

// releaseAddress takes an address back.
func (s *subnet) releaseAddress(address string) {
	var third, fourth int
	if _, err := fmt.Sscanf(address, "172.31.%d.%d", &third, &fourth); err == nil {
		delete(s.addresses, (third-s.third)*256+fourth)
	}
}

func (s *ec2State) subnet(id string) (*subnet, error) {
	for _, sn := range s.subnets {
		if sn.id == id {
			return sn, nil
		}
	}
	return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

func (s *ec2State) group(id string) (*securityGroup, error) {
	for _, g := range s.groups {
		if g.id == id {
			return g, nil
		}
	}
	if !strings.HasPrefix(id, "sg-") {
		return nil, refuse("InvalidGroupId.Malformed", "Invalid id: \"%s\" (expecting \"sg-...\")", id)
	}
	return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
}

func (s *ec2State) groupByName(name string) (*securityGroup, error) {
	for _, g := range s.groups {
		if g.name == name {
			return g, nil
		}
	}
	return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, s.vpcID)
}

type describeSubnetsResponse struct {
	ec2Response
	Subnets   []subnetXML `xml:"subnetSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

type subnetXML struct {
	ID             string   `xml:"subnetId"`
	ARN            string   `xml:"subnetArn"`
	State          string   `xml:"state"`
	OwnerID        string   `xml:"ownerId"`
	VPCID          string   `xml:"vpcId"`
	CIDR           string   `xml:"cidrBlock"`
	FreeAddresses  int      `xml:"availableIpAddressCount"`
	Zone           string   `xml:"availabilityZone"`
	ZoneID         string   `xml:"availabilityZoneId"`
	DefaultForZone bool     `xml:"defaultForAz"`
	MapPublicIP    bool     `xml:"mapPublicIpOnLaunch"`
	Tags           []tagXML `xml:"tagSet>item"`
}

// describeSubnets lists the subnets of the default VPC.
func describeSubnets(c *call) (any, error) {
	s := &c.region.ec2
	wanted := s.subnets
	if ids := c.list("SubnetId"); len(ids) > 0 {
		wanted = nil
		for _, id := range ids {
			sn, err := s.subnet(id)
			if err != nil {
				return nil, err
			}
			wanted = append(wanted, sn)
		}
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	var found []subnetXML
	for _, sn := range wanted {
		matched, err := filters.match(func(name string) ([]string, bool) { return sn.filterValues(s, name) })
		if err != nil {
			return nil, err
		}
		if matched {
			found = append(found, sn.xml(c.region))
		}
	}
	page, next, err := paginate(c, found, 5, 1000)
	if err != nil {
		return nil, err
	}
	return &describeSubnetsResponse{Subnets: page, NextToken: next}, nil
}

func (s *subnet) filterValues(state *ec2State, name string) ([]string, bool) {
	switch name {
	case "subnet-id":
		return []string{s.id}, true
	case "vpc-id":
		return []string{state.vpcID}, true
	case "availability-zone", "availabilityZone":
		return []string{s.zone}, true
	case "state":
		return []string{"available"}, true
	case "cidr", "cidr-block", "cidrBlock":
		return []string{s.cidr}, true
	case "default-for-az", "defaultForAz", "map-public-ip-on-launch":
		return []string{"true"}, true
	default:
		return tagValues(s.tags, name)
	}
}

func (s *subnet) xml(r *region) subnetXML {
	return subnetXML{
		ID: s.id, ARN: fmt.Sprintf("arn:aws:ec2:%s:%s:subnet/%s", r.name, r.account, s.id), State: "available",
		OwnerID: r.account, VPCID: r.ec2.vpcID, CIDR: s.cidr, FreeAddresses: subnetSize - len(s.addresses),
		Zone: s.zone, ZoneID: r.zoneID(s.zone), DefaultForZone: true, MapPublicIP: true, Tags: tagsXML(s.tags),
	}
}

type describeSecurityGroupsResponse struct {
	ec2Response
	Groups    []securityGroupXML `xml:"securityGroupInfo>item"`
	NextToken string             `xml:"nextToken,omitempty"`
}

type securityGroupXML struct {
	OwnerID     string          `xml:"ownerId"`
	ID          string          `xml:"groupId"`
	Name        string          `xml:"groupName"`
	Description string          `xml:"groupDescription"`
	VPCID       string          `xml:"vpcId"`
	Ingress     []permissionXML `xml:"ipPermissions>item"`
	Egress      []permissionXML `xml:"ipPermissionsEgress>item"`
	Tags        []tagXML        `xml:"tagSet>item"`
}

type permissionXML struct {
	Protocol string     `xml:"ipProtocol"`
	Groups   []groupXML `xml:"groups>item"`
	Ranges   []rangeXML `xml:"ipRanges>item"`
}

type groupXML struct {
	UserID string `xml:"userId,omitempty"`
	ID     string `xml:"groupId"`
	Name   string `xml:"groupName,omitempty"`
}

type rangeXML struct {
	CIDR string `xml:"cidrIp"`
}

// describeSecurityGroups lists the groups of the default VPC.
func describeSecurityGroups(c *call) (any, error) {
	wanted, err := c.wantedGroups()
	if err != nil {
		return nil, err
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	var found []securityGroupXML
	for _, g := range wanted {
		matched, err := filters.match(func(name string) ([]string, bool) { return g.filterValues(&c.region.ec2, name) })
		if err != nil {
			return nil, err
		}
		if matched {
			found = append(found, g.xml(c.region))
		}
	}
	page, next, err := paginate(c, found, 5, 1000)
	if err != nil {
		return nil, err
	}
	return &describeSecurityGroupsResponse{Groups: page, NextToken: next}, nil
}

// wantedGroups are those named by id or name, or all.
func (c *call) wantedGroups() ([]*securityGroup, error) {
	s := &c.region.ec2
	ids, names := c.list("GroupId"), c.list("GroupName")
	if len(ids)+len(names) == 0 {
		return s.groups, nil
	}
	var wanted []*securityGroup
	for _, id := range ids {
		g, err := s.group(id)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, g)
	}
	for _, name := range names {
		g, err := s.groupByName(name)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, g)
	}
	return wanted, nil
}

func (g *securityGroup) filterValues(state *ec2State, name string) ([]string, bool) {
	switch name {
	case "group-id":
		return []string{g.id}, true
	case "group-name":
		return []string{g.name}, true
	case "description":
		return []string{g.description}, true
	case "vpc-id":
		return []string{state.vpcID}, true
	default:
		return tagValues(g.tags, name)
	}
}

func (g *securityGroup) xml(r *region) securityGroupXML {
	return securityGroupXML{
		OwnerID: r.account, ID: g.id, Name: g.name, Description: g.description, VPCID: r.ec2.vpcID,
		Ingress: []permissionXML{{Protocol: "-1", Groups: []groupXML{{UserID: r.account, ID: g.id}}}},
		Egress:  []permissionXML{{Protocol: "-1", Ranges: []rangeXML{{"0.0.0.0/0"}}}},
		Tags:    tagsXML(g.tags),
	}
}

type describeAvailabilityZonesResponse struct {
	ec2Response
	Zones []zoneXML `xml:"availabilityZoneInfo>item"`
}

type zoneXML struct {
	Name        string `xml:"zoneName"`
	ID          string `xml:"zoneId"`
	State       string `xml:"zoneState"`
	Type        string `xml:"zoneType"`
	Region      string `xml:"regionName"`
	GroupName   string `xml:"groupName"`
	OptInStatus string `xml:"optInStatus"`
	BorderGroup string `xml:"networkBorderGroup"`
}

// zoneID is the zone's name that doesn't differ between accounts.
func (r *region) zoneID(zone string) string {
	return fmt.Sprintf("%s-az%d", r.name, slices.Index(r.ec2.zones, zone)+1)
}

// describeAvailabilityZones lists the region's three zones.
func describeAvailabilityZones(c *call) (any, error) {
	names, ids := c.list("ZoneName"), c.list("ZoneId")
	for _, name := range names {
		if !slices.Contains(c.region.ec2.zones, name) {
			return nil, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	out := &describeAvailabilityZonesResponse{}
	for _, zone := range c.region.ec2.zones {
		z := zoneXML{
			Name: zone, ID: c.region.zoneID(zone), State: "available", Type: "availability-zone",
			Region: c.region.name, GroupName: c.region.name, OptInStatus: "opt-in-not-required", BorderGroup: c.region.name,
		}
		matched, err := filters.match(z.filterValues)
		if err != nil {
			return nil, err
		}
		named := len(names)+len(ids) == 0 || slices.Contains(names, z.Name) || slices.Contains(ids, z.ID)
		if matched && named {
			out.Zones = append(out.Zones, z)
		}
	}
	return out, nil
}

func (z zoneXML) filterValues(name string) ([]string, bool) {
	switch name {
	case "zone-name":
		return []string{z.Name}, true
	case "zone-id":
		return []string{z.ID}, true
	case "state":
		return []string{z.State}, true
	case "zone-type":
		return []string{z.Type}, true
	case "region-name":
		return []string{z.Region}, true
	case "opt-in-status":
		return []string{z.OptInStatus}, true
	case "group-name":
		return []string{z.GroupName}, true
	default:
		return nil, false
	}
}

type describeRegionsResponse struct {
	ec2Response
	Regions []regionXML `xml:"regionInfo>item"`
}

type regionXML struct {
	Name        string `xml:"regionName"`
	Endpoint    string `xml:"regionEndpoint"`
	OptInStatus string `xml:"optInStatus"`
}

// describeRegions lists the usual regions, and the one asked if it is another.
func describeRegions(c *call) (any, error) {
	known := regionNames
	if !slices.Contains(known, c.region.name) {
		known = append(slices.Clone(known), c.region.name)
	}
	names := c.list("RegionName")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, refuse("InvalidParameterValue", "Invalid region provided: %s", name)
		}
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	out := &describeRegionsResponse{}
	for _, name := range known {
		x := regionXML{Name: name, Endpoint: "ec2." + name + ".amazonaws.com", OptInStatus: "opt-in-not-required"}
		matched, err := filters.match(x.filterValues)
		if err != nil {
			return nil, err
		}
		if matched && (len(names) == 0 || slices.Contains(names, name)) {
			out.Regions = append(out.Regions, x)
		}
	}
	return out, nil
}

func (x regionXML) filterValues(name string) ([]string, bool) {
	switch name {
	case "region-name":
		return []string{x.Name}, true
	case "endpoint":
		return []string{x.Endpoint}, true
	case "opt-in-status":
		return []string{x.OptInStatus}, true
	default:
		return nil, false
	}
}
