output "address" {
  description = "Name of the load balancer; the company's DNS points the certificate's name to it."
  value       = aws_lb.this.dns_name
}

output "target_group_arns" {
  description = "Target groups: `machines` (EC2), and `kubernetes` where node_port is set."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn }
}

output "load_balancer_suffix" {
  description = "How CloudWatch names the load balancer."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffixes" {
  description = "How CloudWatch names each target group."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn_suffix }
}

output "idle_timeout_s" {
  description = "Seconds without traffic after which a connection is cut; clients and servers must ping more often."
  value       = 350
}

output "private_link_service_name" {
  description = "Name that other VPCs make their endpoint for; null without PrivateLink."
  value       = one(aws_vpc_endpoint_service.this[*].service_name)
}
