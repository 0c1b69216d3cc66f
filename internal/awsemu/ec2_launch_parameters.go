// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
)

// launchParameters are what RunInstances asks for, a launch template's data
// included, with every reference resolved.
type launchParameters struct {
	image               *machineImage
	typ                 instanceType
	minCount, maxCount  int
	subnets             []*subnet // the candidates, in order
	groups              []*securityGroup
	publicIP            bool
	userData            string
	keyName             string
	profile             string
	spot                bool
	terminateOnShutdown bool
	metadata            metadataOptions
	devices             []blockDevice
	// tagsOf are the tags of what is made, by its kind.
	tagsOf   map[string]map[string]string
	template *launchTemplate
}

// readLaunch reads and checks the parameters of RunInstances.
func (c *call) readLaunch() (*launchParameters, error) {
	p := &launchParameters{}
	request := c.params()
	if err := p.readCounts(request); err != nil {
		return nil, err
	}
	merged, err := p.withTemplate(c.region, request)
	if err != nil {
		return nil, err
	}
	for _, read := range []func(*region, form) error{
		p.readImageAndType, p.readNetwork, p.readUserData, p.readMarket, p.readMetadata, p.readRest,
	} {
		if err := read(c.region, merged); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *launchParameters) readCounts(f form) error {
	for _, name := range []string{"MinCount", "MaxCount"} {
		if f.get(name) == "" {
			return refuse("MissingParameter", "The request must contain the parameter %s", name)
		}
	}
	var err error
	if p.minCount, err = f.integer("MinCount", 0); err != nil {
		return err
	}
	if p.maxCount, err = f.integer("MaxCount", 0); err != nil {
		return err
	}
	if p.minCount < 1 || p.maxCount < 1 {
		return refuse("InvalidParameterValue", "Value (%d) for parameter minCount is invalid. It must be at least 1.", p.minCount)
	}
	if p.minCount > p.maxCount {
		return refuse("InvalidParameterCombination", "The minCount %d is larger than the maxCount %d", p.minCount, p.maxCount)
	}
	return nil
}

func (p *launchParameters) readImageAndType(r *region, f form) error {
	if f.get("ImageId") == "" {
		return refuse("MissingParameter", "The request must contain the parameter ImageId")
	}
	var err error
	if p.image, err = r.ec2.image(f.get("ImageId")); err != nil {
		return err
	}
	name := f.get("InstanceType")
	if name == "" {
		// EC2's own default: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html
		return refuse("MissingParameter", "The request must contain the parameter InstanceType")
	}
	if p.typ, err = findInstanceType(name); err != nil {
		return err
	}
	if p.typ.architecture != p.image.architecture {
		return refuse("InvalidParameterValue",
			"The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. "+
				"Specify an instance type and an AMI that have matching architectures, and try again.",
			p.typ.architecture, p.image.architecture)
	}
	return nil
}

// readNetwork reads subnet, groups and public address, either of the instance or
// of its one network interface; EC2 takes only one of the two.
func (p *launchParameters) readNetwork(r *region, f form) error {
	subnetID, groupIDs := f.get("SubnetId"), f.list("SecurityGroupId")
	source := form{}
	if nics := f.each("NetworkInterface"); len(nics) > 0 {
		if subnetID != "" || len(groupIDs) > 0 {
			return refuse("InvalidParameterCombination",
				"Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request")
		}
		source = nics[0]
		subnetID, groupIDs = source.get("SubnetId"), source.list("SecurityGroupId")
	}
	if err := p.chooseSubnets(r, subnetID, f.get("Placement.AvailabilityZone")); err != nil {
		return err
	}
	if err := p.chooseGroups(r, groupIDs, f.list("SecurityGroup")); err != nil {
		return err
	}
	var err error
	// Default subnets map public addresses on launch.
	p.publicIP, err = source.boolean("AssociatePublicIpAddress", true)
	return err
}

func (p *launchParameters) chooseSubnets(r *region, subnetID, zone string) error {
	if subnetID != "" {
		sn, err := r.ec2.subnet(subnetID)
		if err != nil {
			return err
		}
		if zone != "" && zone != sn.zone {
			return refuse("InvalidParameterValue", "The availability zone '%s' is not that of the subnet '%s'", zone, subnetID)
		}
		p.subnets = []*subnet{sn}
		return nil
	}
	for _, sn := range r.ec2.subnets {
		if zone == "" || sn.zone == zone {
			p.subnets = append(p.subnets, sn)
		}
	}
	if len(p.subnets) == 0 {
		return refuse("InvalidParameterValue", "Invalid availability zone: [%s]", zone)
	}
	return nil
}

func (p *launchParameters) chooseGroups(r *region, ids, names []string) error {
	for _, id := range ids {
		g, err := r.ec2.group(id)
		if err != nil {
			return err
		}
		p.groups = append(p.groups, g)
	}
	for _, name := range names {
		g, err := r.ec2.groupByName(name)
		if err != nil {
			return err
		}
		p.groups = append(p.groups, g)
	}
	if len(p.groups) == 0 {
		p.groups = r.ec2.groups[:1]
	}
	return nil
}

// maxUserData is the limit before encoding:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
const maxUserData = 16 * 1024

func (p *launchParameters) readUserData(_ *region, f form) error {
	decoded, err := base64.StdEncoding.DecodeString(f.get("UserData"))
	if err != nil {
		return refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	if len(decoded) > maxUserData {
		return refuse("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	p.userData = string(decoded)
	return nil
}

func (p *launchParameters) readMarket(_ *region, f form) error {
	switch market := f.get("InstanceMarketOptions.MarketType"); market {
	case "":
	case "spot":
		p.spot = true
	default:
		return refuse("InvalidParameterValue", "Invalid value '%s' for marketType.", market)
	}
	switch behavior := f.get("InstanceInitiatedShutdownBehavior"); behavior {
	case "", "stop":
	case "terminate":
		p.terminateOnShutdown = true
	default:
		return refuse("InvalidParameterValue", "Invalid value '%s' for instanceInitiatedShutdownBehavior.", behavior)
	}
	return nil
}

func (p *launchParameters) readMetadata(_ *region, f form) error {
	p.metadata = metadataOptions{tokens: "optional", endpoint: "enabled", tags: "disabled"}
	for key, field := range map[string]*string{
		"HttpTokens": &p.metadata.tokens, "HttpEndpoint": &p.metadata.endpoint, "InstanceMetadataTags": &p.metadata.tags,
	} {
		if v := f.get("MetadataOptions." + key); v != "" {
			*field = v
		}
	}
	var err error
	p.metadata.hopLimit, err = f.integer("MetadataOptions.HttpPutResponseHopLimit", 1)
	return err
}

func (p *launchParameters) readRest(r *region, f form) error {
	p.keyName = f.get("KeyName")
	p.profile = f.get("IamInstanceProfile.Arn")
	if name := f.get("IamInstanceProfile.Name"); name != "" {
		p.profile = fmt.Sprintf("arn:aws:iam::%s:instance-profile/%s", r.account, name)
	}
	devices, err := readBlockDevices(f)
	if err != nil {
		return err
	}
	p.devices = mergeBlockDevices(p.image.devices, devices)
	byType, err := f.tagSpecifications()
	if err != nil {
		return err
	}
	for kind, tags := range byType {
		if p.tagsOf[kind] == nil {
			p.tagsOf[kind] = map[string]string{}
		}
		maps.Copy(p.tagsOf[kind], tags)
		if len(p.tagsOf[kind]) > maxTags {
			return refuse("TagLimitExceeded", "The maximum number of tags for this resource is %d.", maxTags)
		}
	}
	return nil
}

func readBlockDevices(f form) ([]blockDevice, error) {
	var devices []blockDevice
	for _, m := range f.each("BlockDeviceMapping") {
		d := blockDevice{asked: true, name: m.get("DeviceName"), volumeType: m.get("Ebs.VolumeType"), snapshotID: m.get("Ebs.SnapshotId")}
		var err error
		if d.sizeGiB, err = m.integer("Ebs.VolumeSize", 0); err != nil {
			return nil, err
		}
		if d.deleteOnTermination, err = m.boolean("Ebs.DeleteOnTermination", true); err != nil {
			return nil, err
		}
		if d.encrypted, err = m.boolean("Ebs.Encrypted", false); err != nil {
			return nil, err
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// mergeBlockDevices lays the devices asked for over those of the image, by name.
func mergeBlockDevices(base, asked []blockDevice) []blockDevice {
	merged := append([]blockDevice(nil), base...)
next:
	for _, d := range asked {
		for i := range merged {
			if merged[i].name == d.name {
				merged[i] = overlayDevice(merged[i], d)
				continue next
			}
		}
		merged = append(merged, overlayDevice(blockDevice{volumeType: "gp3", sizeGiB: 8}, d))
	}
	return merged
}

func overlayDevice(base, d blockDevice) blockDevice {
	if d.volumeType == "" {
		d.volumeType = base.volumeType
	}
	if d.sizeGiB == 0 {
		d.sizeGiB = base.sizeGiB
	}
	return d
}

// withTemplate lays the request over its launch template, if it names one: a
// parameter of the request replaces the template's of that name, and tags are
// merged. See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html
func (p *launchParameters) withTemplate(r *region, request form) (form, error) {
	p.tagsOf = map[string]map[string]string{}
	reference := request.under("LaunchTemplate")
	if len(reference) == 0 {
		return request, nil
	}
	var err error
	if p.template, err = r.ec2.template(reference); err != nil {
		return nil, err
	}
	if p.tagsOf, err = p.template.data.tagSpecifications(); err != nil {
		return nil, err
	}
	merged := form{}
	for k, v := range p.template.data {
		top, _, _ := strings.Cut(k, ".")
		if !request.has(top) {
			merged[k] = v
		}
	}
	maps.Copy(merged, request)
	return merged, nil
}
