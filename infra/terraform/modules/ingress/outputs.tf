output "address" {
  description = "DNS name of the load balancer, to which the company's DNS points the certificate's name."
  value       = aws_lb.this.dns_name
}

output "target_group_arns" {
  description = "Target groups: `machines` (EC2), and `kubernetes` where node_port is set."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn }
}

output "load_balancer_suffix" {
  description = "Name of the load balancer in CloudWatch."
  value       = aws_lb.this.arn_suffix
}

output "target_group_suffixes" {
  description = "Name of each target group in CloudWatch."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn_suffix }
}

output "idle_timeout_s" {
  description = "Seconds without traffic after which a connection is cut. Clients and servers must ping more often."
  value       = 350
}

output "private_link_service_name" {
  description = "Service name for which other VPCs create their endpoint; null without PrivateLink."
  value       = one(aws_vpc_endpoint_service.this[*].service_name)
}
