variable "name" {
  description = "Name of the environment, with which the name of every resource begins."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 22 lower-case letters, digits and dashes, and begin with a letter: bucket and load balancer names have to fit."
  }
}

variable "tags" {
  description = "Tags of every resource, by which cost reports are grouped."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key in keys(var.tags) : !startswith(key, "aws:")])
    error_message = "AWS takes 50 tags a resource (a few are added here), and keeps keys that begin with aws: to itself."
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

variable "key_arns" {
  description = "ARN of the key of each class: storage, recordings, databases, secrets, volumes (output of the module security)."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["storage", "recordings", "databases", "secrets", "volumes"], keys(var.key_arns))) == 0
    error_message = "key_arns needs storage, recordings, databases, secrets and volumes."
  }
}

variable "role_names" {
  description = "Name of the role of each workload (output of the module security)."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["head", "gateway", "nvidia", "neuron", "ingest", "milvus"], keys(var.role_names))) == 0
    error_message = "role_names needs head, gateway, nvidia, neuron, ingest and milvus."
  }
}

variable "vpc_id" {
  description = "VPC of the databases."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id must begin with vpc-."
  }
}

variable "subnet_ids" {
  description = "Subnets of the databases, in two zones at least."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "Databases need subnets in two zones at least."
  }
}

variable "availability_zones" {
  description = "Zones of the environment, of which the first has the Milvus disk."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 1
    error_message = "Name one zone at least."
  }
}

variable "client_security_group_ids" {
  description = "Security groups that may connect to the databases, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.client_security_group_ids) > 0 && alltrue([for id in values(var.client_security_group_ids) : startswith(id, "sg-")])
    error_message = "client_security_group_ids must be ids of security groups, at least one."
  }
}

variable "s3_endpoint_id" {
  description = "The only VPC endpoint through which objects are read and written."
  type        = string

  validation {
    condition     = startswith(var.s3_endpoint_id, "vpce-")
    error_message = "s3_endpoint_id must begin with vpce-."
  }
}

variable "object_principal_arns" {
  description = "Roles (patterns allowed) that may upload objects from outside the VPC, such as a pipeline for models. Never for recordings."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.object_principal_arns : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:.+", arn))])
    error_message = "object_principal_arns must be ARNs of IAM principals of a named account."
  }
}

variable "destroyable" {
  description = "Whether `terraform destroy` may delete databases, images and full buckets (never recordings). False in production."
  type        = bool
  default     = false
}

variable "secret_recovery_window_days" {
  description = "Days within which the deletion of a secret can be undone. With 0 its name is free again at once."
  type        = number
  default     = 30

  validation {
    condition     = var.secret_recovery_window_days == 0 || (var.secret_recovery_window_days >= 7 && var.secret_recovery_window_days <= 30)
    error_message = "secret_recovery_window_days must be 0, or 7 to 30."
  }
}

variable "recording_retention_days" {
  description = "Days for which a recorded call is locked. It is deleted on the day after."
  type        = number
  default     = 90

  validation {
    condition     = var.recording_retention_days >= 1 && var.recording_retention_days <= 3650
    error_message = "recording_retention_days must be 1 to 3650."
  }
}

variable "recording_lock_mode" {
  description = "GOVERNANCE allows a named administrator to erase a recording on a person's request; COMPLIANCE allows nobody."
  type        = string
  default     = "GOVERNANCE"

  validation {
    condition     = contains(["GOVERNANCE", "COMPLIANCE"], var.recording_lock_mode)
    error_message = "recording_lock_mode is GOVERNANCE or COMPLIANCE."
  }
}

variable "ingest_retention_days" {
  description = "Days for which checkpoints and intermediate files of ingest jobs are kept; 0 for ever."
  type        = number
  default     = 30

  validation {
    condition     = var.ingest_retention_days >= 0
    error_message = "ingest_retention_days must be 0 or more."
  }
}

variable "log_retention_days" {
  description = "Days for which access logs of buckets and load balancers are kept."
  type        = number
  default     = 365

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days must be 1 or more."
  }
}

variable "redis_node_type" {
  description = "Machine type of Redis."
  type        = string
  default     = "cache.t4g.small"

  validation {
    condition     = startswith(var.redis_node_type, "cache.")
    error_message = "redis_node_type must begin with cache."
  }
}

variable "redis_nodes" {
  description = "Redis nodes: 1, or more for automatic failover to another zone."
  type        = number
  default     = 1

  validation {
    condition     = var.redis_nodes >= 1 && var.redis_nodes <= 6
    error_message = "redis_nodes must be 1 to 6."
  }
}

variable "redis_snapshot_days" {
  description = "Days for which Redis snapshots are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.redis_snapshot_days >= 1 && var.redis_snapshot_days <= 35
    error_message = "redis_snapshot_days must be 1 to 35."
  }
}

variable "postgres_version" {
  description = "Major version of PostgreSQL, since RDS raises the minor version by itself. From 15 on, connections must use TLS."
  type        = string
  default     = "16"

  validation {
    condition     = try(tonumber(split(".", var.postgres_version)[0]), 0) >= 15
    error_message = "postgres_version must be 15 or newer, because earlier versions do not force TLS."
  }
}

variable "postgres_instance_class" {
  description = "Machine type of PostgreSQL."
  type        = string
  default     = "db.t4g.medium"

  validation {
    condition     = startswith(var.postgres_instance_class, "db.")
    error_message = "postgres_instance_class must begin with db."
  }
}

variable "postgres_storage_gib" {
  description = "Disk of PostgreSQL in GiB, which grows automatically to four times that size."
  type        = number
  default     = 50

  validation {
    condition     = var.postgres_storage_gib >= 20
    error_message = "postgres_storage_gib must be 20 or more."
  }
}

variable "postgres_multi_az" {
  description = "Whether PostgreSQL has a standby in another zone."
  type        = bool
  default     = false
}

variable "postgres_backup_days" {
  description = "Days for which PostgreSQL backups are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.postgres_backup_days >= 1 && var.postgres_backup_days <= 35
    error_message = "postgres_backup_days must be 1 to 35."
  }
}

variable "milvus_metadata_gib" {
  description = "Disk for Milvus's metadata, in GiB."
  type        = number
  default     = 50

  validation {
    condition     = var.milvus_metadata_gib >= 10
    error_message = "milvus_metadata_gib must be 10 or more."
  }
}

variable "maintenance_window" {
  description = "Weekly maintenance hour of the databases, in UTC."
  type        = string
  default     = "sun:03:00-sun:04:00"

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):[0-2][0-9]:[0-5][0-9]$", var.maintenance_window))
    error_message = "maintenance_window must look like sun:03:00-sun:04:00."
  }
}

variable "image_repositories" {
  description = "Image repositories to create: one per image of a pool and, on Kubernetes, one per mirrored image."
  type        = set(string)
  default     = ["cpu", "nvidia", "neuron", "milvus"]

  validation {
    condition     = alltrue([for name in var.image_repositories : can(regex("^[a-z0-9][a-z0-9/_.-]*$", name))])
    error_message = "Repository names are lower-case letters, digits and / _ . -"
  }
}
