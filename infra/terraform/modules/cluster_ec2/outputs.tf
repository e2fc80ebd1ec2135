output "ray_cluster" {
  description = "YAML with those keys of a Ray cluster file that depend on machines. `voxray render ray-ec2` adds the rest (docs/terraform.md)."
  value = yamlencode({
    cluster_name         = var.name
    max_workers          = sum(concat([0], [for pool in var.pools : pool.max]))
    idle_timeout_minutes = var.idle_timeout_minutes
    head_node_type       = "head"
    provider = {
      type                  = "aws"
      region                = local.region
      use_internal_ips      = true
      cache_stopped_nodes   = false
      disable_node_updaters = true
    }
    available_node_types = {
      for name, group in local.groups : name => merge(
        {
          min_workers = group.min
          max_workers = group.max
          resources   = local.resources[name]
          labels      = local.labels[name]
          node_config = {
            LaunchTemplate = { LaunchTemplateName = aws_launch_template.this[name].name, Version = tostring(aws_launch_template.this[name].latest_version) }
            SubnetIds      = var.node_subnet_ids
            # Tags of a request replace the template's for machines, so the cost tags are said again.
            TagSpecifications = [{ ResourceType = "instance", Tags = [for key, value in local.tags[name] : { Key = key, Value = value } if key != "Name"] }]
          }
        },
        group.idle_timeout_s == null ? {} : { idle_timeout_s = group.idle_timeout_s },
      )
    }
  })
}

output "head_address" {
  description = "Name under which machines and operators reach the head, whichever machine it runs on."
  value       = aws_lb.head.dns_name
}

output "head_group_name" {
  description = "Group of the head, for alarms."
  value       = aws_autoscaling_group.head.name
}

output "rendered_files_uri" {
  description = "Where machines look for the files written by `voxray render ray-ec2`. The head waits for ray.yaml."
  value       = local.rendered_files
}

output "launch_template_names" {
  description = "Launch template of the head and of each pool."
  value       = { for name, template in aws_launch_template.this : name => template.name }
}

output "environment" {
  description = "Environment of every Ray process."
  value       = local.environment
}

output "node_log_group_name" {
  description = "Log group of the machines."
  value       = aws_cloudwatch_log_group.nodes.name
}
