// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"slices"
	"sort"
	"time"
)

// launchTemplate holds launch parameters under a name. It has one version.
type launchTemplate struct {
	id, name string
	created  time.Time
	data     form
	tags     map[string]string
}

type createLaunchTemplateResponse struct {
	ec2Response
	Template launchTemplateXML `xml:"launchTemplate"`
}

type describeLaunchTemplatesResponse struct {
	ec2Response
	Templates []launchTemplateXML `xml:"launchTemplates>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

type launchTemplateXML struct {
	ID      string   `xml:"launchTemplateId"`
	Name    string   `xml:"launchTemplateName"`
	Created string   `xml:"createTime"`
	By      string   `xml:"createdBy"`
	Default int      `xml:"defaultVersionNumber"`
	Latest  int      `xml:"latestVersionNumber"`
	Tags    []tagXML `xml:"tagSet>item"`
}

func (t *launchTemplate) xml(r *region) launchTemplateXML {
	return launchTemplateXML{
		ID: t.id, Name: t.name, Created: timeXML(t.created), By: "arn:aws:iam::" + r.account + ":root",
		Default: 1, Latest: 1, Tags: tagsXML(t.tags),
	}
}

// template finds what a LaunchTemplateSpecification refers to.
func (s *ec2State) template(reference form) (*launchTemplate, error) {
	id, name := reference.get("LaunchTemplateId"), reference.get("LaunchTemplateName")
	var found *launchTemplate
	for _, t := range s.templates {
		if (id != "" && t.id == id) || (id == "" && t.name == name) {
			found = t
		}
	}
	switch {
	case found == nil && id != "":
		return nil, refuse("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	case found == nil:
		return nil, refuse("InvalidLaunchTemplateName.NotFoundException",
			"The specified launch template, with template name %s, does not exist.", name)
	}
	version := reference.get("Version")
	if !slices.Contains([]string{"", "1", "$Default", "$Latest"}, version) {
		return nil, refuse("InvalidLaunchTemplateId.VersionNotFound",
			"Could not find the specified version %s for the launch template with ID %s.", version, found.id)
	}
	return found, nil
}

// createLaunchTemplate keeps launch parameters; they are checked when used, as
// AWS does.
func createLaunchTemplate(c *call) (any, error) {
	p := c.params()
	name := p.get("LaunchTemplateName")
	if name == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameter LaunchTemplateName")
	}
	data := p.under("LaunchTemplateData")
	if len(data) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter LaunchTemplateData")
	}
	s := &c.region.ec2
	for _, t := range s.templates {
		if t.name == name {
			return nil, refuse("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
		}
	}
	tags, err := p.tagSpecifications()
	if err != nil {
		return nil, err
	}
	t := &launchTemplate{id: c.region.newID("lt"), name: name, created: c.now, data: data, tags: map[string]string{}}
	for k, v := range tags["launch-template"] {
		t.tags[k] = v
	}
	s.templates[t.id] = t
	return &createLaunchTemplateResponse{Template: t.xml(c.region)}, nil
}

// describeLaunchTemplates lists templates by name.
func describeLaunchTemplates(c *call) (any, error) {
	wanted, err := c.wantedTemplates()
	if err != nil {
		return nil, err
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	var found []launchTemplateXML
	for _, t := range wanted {
		matched, err := filters.match(func(name string) ([]string, bool) {
			if name == "launch-template-name" {
				return []string{t.name}, true
			}
			return tagValues(t.tags, name)
		})
		if err != nil {
			return nil, err
		}
		if matched {
			found = append(found, t.xml(c.region))
		}
	}
	page, next, err := paginate(c, found, 1, 200)
	if err != nil {
		return nil, err
	}
	return &describeLaunchTemplatesResponse{Templates: page, NextToken: next}, nil
}

// wantedTemplates are those named by id or name, or all.
func (c *call) wantedTemplates() ([]*launchTemplate, error) {
	var wanted []*launchTemplate
	var references []form
	for _, id := range c.list("LaunchTemplateId") {
		references = append(references, form{"LaunchTemplateId": {id}})
	}
	for _, name := range c.list("LaunchTemplateName") {
		references = append(references, form{"LaunchTemplateName": {name}})
	}
	for _, reference := range references {
		t, err := c.region.ec2.template(reference)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, t)
	}
	if len(references) == 0 {
		for _, t := range c.region.ec2.templates {
			wanted = append(wanted, t)
		}
	}
	sort.Slice(wanted, func(i, j int) bool { return wanted[i].name < wanted[j].name })
	return wanted, nil
}
