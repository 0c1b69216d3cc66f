// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"regexp"
	"slices"
	"sort"
	"time"
)

// DefaultImageID is an image that exists in every region.
const DefaultImageID = "ami-00000000000000001"

var imageIDPattern = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)

func newMachineImage(image Image, created time.Time) *machineImage {
	m := &machineImage{
		id: image.ID, name: image.Name, architecture: image.Architecture, created: created,
		rootDevice: "/dev/xvda", tags: map[string]string{},
	}
	if m.name == "" {
		m.name = m.id
	}
	if m.architecture == "" {
		m.architecture = "x86_64"
	}
	m.devices = []blockDevice{{name: m.rootDevice, volumeType: "gp3", sizeGiB: 30, deleteOnTermination: true}}
	return m
}

// addImage adds an image that exists in this region and account.
func (s *ec2State) addImage(r *region, image Image) {
	if (image.Region == "" || image.Region == r.name) && (image.Account == "" || image.Account == r.account) {
		s.images[image.ID] = newMachineImage(image, r.now())
	}
}

// image returns an image that can be used, or AWS's reason why not.
func (s *ec2State) image(id string) (*machineImage, error) {
	m, ok := s.images[id]
	switch {
	case ok && m.deregistered:
		return nil, refuse("InvalidAMIID.Unavailable", "The image ID '%s' is no longer available", id)
	case ok:
		return m, nil
	case !imageIDPattern.MatchString(id):
		return nil, refuse("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
	default:
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
	}
}

type registerImageResponse struct {
	ec2Response
	ImageID string `xml:"imageId"`
}

// registerImage makes an image of nothing but a name.
func registerImage(c *call) (any, error) {
	p := c.params()
	name := p.get("Name")
	if name == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameter Name")
	}
	s := &c.region.ec2
	for _, m := range s.images {
		if m.name == name && !m.deregistered {
			return nil, refuse("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, m.id)
		}
	}
	tags, err := p.tagSpecifications()
	if err != nil {
		return nil, err
	}
	devices, err := readBlockDevices(p)
	if err != nil {
		return nil, err
	}
	m := newMachineImage(Image{ID: c.region.newID("ami"), Name: name, Architecture: p.get("Architecture")}, c.now)
	m.description = p.get("Description")
	if root := p.get("RootDeviceName"); root != "" {
		m.rootDevice = root
		m.devices[0].name = root
	}
	m.devices = mergeBlockDevices(m.devices, devices)
	for k, v := range tags["image"] {
		m.tags[k] = v
	}
	s.images[m.id] = m
	return &registerImageResponse{ImageID: m.id}, nil
}

// deregisterImage leaves instances of the image running and refuses new ones.
func deregisterImage(c *call) (any, error) {
	m, err := c.region.ec2.image(c.form.Get("ImageId"))
	if err != nil {
		return nil, err
	}
	m.deregistered = true
	return &ec2Return{Return: true}, nil
}

type describeImagesResponse struct {
	ec2Response
	Images    []imageXML `xml:"imagesSet>item"`
	NextToken string     `xml:"nextToken,omitempty"`
}

type imageXML struct {
	ID             string           `xml:"imageId"`
	Location       string           `xml:"imageLocation"`
	State          string           `xml:"imageState"`
	OwnerID        string           `xml:"imageOwnerId"`
	Created        string           `xml:"creationDate"`
	Public         bool             `xml:"isPublic"`
	Architecture   string           `xml:"architecture"`
	Type           string           `xml:"imageType"`
	Name           string           `xml:"name"`
	Description    string           `xml:"description,omitempty"`
	RootDeviceType string           `xml:"rootDeviceType"`
	RootDeviceName string           `xml:"rootDeviceName"`
	Virtualization string           `xml:"virtualizationType"`
	Hypervisor     string           `xml:"hypervisor"`
	Platform       string           `xml:"platformDetails"`
	ENA            bool             `xml:"enaSupport"`
	Devices        []imageDeviceXML `xml:"blockDeviceMapping>item"`
	Tags           []tagXML         `xml:"tagSet>item"`
}

type imageDeviceXML struct {
	Name                string `xml:"deviceName"`
	DeleteOnTermination bool   `xml:"ebs>deleteOnTermination"`
	SizeGiB             int    `xml:"ebs>volumeSize"`
	Type                string `xml:"ebs>volumeType"`
	Encrypted           bool   `xml:"ebs>encrypted"`
	SnapshotID          string `xml:"ebs>snapshotId,omitempty"`
}

// describeImages lists images; those deregistered don't exist for it.
func describeImages(c *call) (any, error) {
	wanted, err := c.wantedImages()
	if err != nil {
		return nil, err
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	owners := c.list("Owner")
	var found []imageXML
	for _, m := range wanted {
		matched, err := filters.match(func(name string) ([]string, bool) { return m.filterValues(c.region, name) })
		if err != nil {
			return nil, err
		}
		owned := len(owners) == 0 || slices.Contains(owners, "self") || slices.Contains(owners, c.region.account)
		if matched && owned {
			found = append(found, m.xml(c.region))
		}
	}
	page, next, err := paginate(c, found, 1, 1000)
	if err != nil {
		return nil, err
	}
	return &describeImagesResponse{Images: page, NextToken: next}, nil
}

// wantedImages are those named, or all by id.
func (c *call) wantedImages() ([]*machineImage, error) {
	s := &c.region.ec2
	var wanted []*machineImage
	if ids := c.list("ImageId"); len(ids) > 0 {
		for _, id := range ids {
			m, err := s.image(id)
			if err != nil {
				if m := s.images[id]; m != nil {
					err = refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
				}
				return nil, err
			}
			wanted = append(wanted, m)
		}
		return wanted, nil
	}
	for _, m := range s.images {
		if !m.deregistered {
			wanted = append(wanted, m)
		}
	}
	sort.Slice(wanted, func(i, j int) bool { return wanted[i].id < wanted[j].id })
	return wanted, nil
}

func (m *machineImage) filterValues(r *region, name string) ([]string, bool) {
	switch name {
	case "image-id":
		return []string{m.id}, true
	case "name":
		return []string{m.name}, true
	case "description":
		return []string{m.description}, true
	case "state":
		return []string{"available"}, true
	case "architecture":
		return []string{m.architecture}, true
	case "owner-id":
		return []string{r.account}, true
	case "is-public":
		return []string{"false"}, true
	case "root-device-type":
		return []string{"ebs"}, true
	case "virtualization-type":
		return []string{"hvm"}, true
	default:
		return tagValues(m.tags, name)
	}
}

func (m *machineImage) xml(r *region) imageXML {
	x := imageXML{
		ID: m.id, Location: r.account + "/" + m.name, State: "available", OwnerID: r.account, Created: timeXML(m.created),
		Architecture: m.architecture, Type: "machine", Name: m.name, Description: m.description,
		RootDeviceType: "ebs", RootDeviceName: m.rootDevice, Virtualization: "hvm", Hypervisor: "xen",
		Platform: "Linux/UNIX", ENA: true, Tags: tagsXML(m.tags),
	}
	for _, d := range m.devices {
		x.Devices = append(x.Devices, imageDeviceXML{
			Name: d.name, DeleteOnTermination: d.deleteOnTermination, SizeGiB: d.sizeGiB, Type: d.volumeType,
			Encrypted: d.encrypted, SnapshotID: d.snapshotID,
		})
	}
	return x
}
