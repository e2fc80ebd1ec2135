# The first thirteen have no default: fill terraform.tfvars (from terraform.tfvars.example).

variable "account_id" {
  description = "AWS account of this environment. Terraform refuses to work in any other."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits."
  }
}

variable "region" {
  description = "AWS region."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must look like eu-central-1."
  }
}

variable "availability_zones" {
  description = "Two or three zones of the region that have the machine types of all pools."
  type        = list(string)

  validation {
    condition     = alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "availability_zones must be zones of the region, such as eu-central-1a."
  }
}

variable "cidr" {
  description = "Address range of the VPC, /16 to /20, that no other network of the company uses."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr))
    error_message = "cidr must be an IPv4 range such as 10.40.0.0/16."
  }
}

variable "caller_cidrs" {
  description = "Private networks from which calls come."
  type        = set(string)

  validation {
    condition     = length(var.caller_cidrs) > 0
    error_message = "Name one network at least."
  }
}

variable "operator_cidrs" {
  description = "Private networks from which operators can open the Ray dashboard; empty for Session Manager only."
  type        = set(string)

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrnetmask(cidr))])
    error_message = "operator_cidrs must be IPv4 networks."
  }
}

variable "certificate_arn" {
  description = "ACM certificate (from a private CA, or imported) for the name that clients connect to."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "machine_images" {
  description = "AMI of each kind of machine: cpu, and optionally nvidia and neuron. A kind without an image has no pool."
  type        = map(string)

  validation {
    condition     = contains(keys(var.machine_images), "cpu") && alltrue([for kind in keys(var.machine_images) : contains(["cpu", "nvidia", "neuron"], kind)])
    error_message = "machine_images must have cpu, and may have nvidia and neuron."
  }
}

variable "image_tag" {
  description = "Tag of the container images in the environment's repositories."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must be an image tag, and not latest: machines that start later must get the same image."
  }
}

variable "alarm_emails" {
  description = "E-mail addresses that receive alarms and budget warnings."
  type        = set(string)

  validation {
    condition     = length(var.alarm_emails) > 0
    error_message = "Somebody has to be told."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars."
  type        = number

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be above 0."
  }
}

variable "private_link_principals" {
  description = "Accounts, users or roles of other VPCs that may call through PrivateLink; empty for none."
  type        = list(string)

  validation {
    condition     = !contains(var.private_link_principals, "*")
    error_message = "private_link_principals must never contain *."
  }
}

variable "admin_role_arns" {
  description = "Roles that administer the Kubernetes cluster; empty without a cluster."
  type        = set(string)

  validation {
    condition     = length(var.admin_role_arns) > 0 || !contains(var.clusters, "eks")
    error_message = "With eks in clusters, name an administrator."
  }
}

################################################################################
# With defaults
################################################################################

variable "name" {
  description = "Name of the environment, with which the name of every resource begins."
  type        = string
  default     = "voxray-production"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 22 lower-case letters, digits and dashes."
  }
}

variable "cost_centre" {
  description = "Cost centre, with which every resource is tagged."
  type        = string
  default     = "voxray"

  validation {
    condition     = length(var.cost_centre) > 0
    error_message = "cost_centre must not be empty."
  }
}

variable "object_principal_arns" {
  description = "Roles that upload models and business data to the buckets from outside the VPC."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.object_principal_arns : startswith(arn, "arn:")])
    error_message = "object_principal_arns must be ARNs."
  }
}

variable "aws_max_retries" {
  description = "How often a failed AWS request is retried."
  type        = number
  default     = 25

  validation {
    condition     = var.aws_max_retries >= 0
    error_message = "aws_max_retries must be 0 or more."
  }
}

variable "clusters" {
  description = "Where Ray runs: ec2, eks, or both during a move from one to the other (see `serving`)."
  type        = set(string)
  default     = ["ec2"]

  validation {
    condition     = length(var.clusters) > 0 && length(setsubtract(var.clusters, ["ec2", "eks"])) == 0
    error_message = "clusters must contain ec2, eks, or both."
  }
}

variable "serving" {
  description = "Which of the clusters takes new calls."
  type        = string
  default     = "ec2"

  validation {
    condition     = contains(var.clusters, var.serving)
    error_message = "serving must be one of clusters."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary that the company requires for roles; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

variable "deletion_protection" {
  description = "Whether load balancers, databases, images and full buckets refuse to be deleted. Set it to false, and apply, before `terraform destroy`."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Switches of every Ray process, which `voxray render switches` writes to ray.auto.tfvars.json."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key))])
    error_message = "The keys of environment are names of variables."
  }
}
