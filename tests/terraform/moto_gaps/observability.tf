# Terraform reports on moto 5.2.5: reading Budget subscribers: DescribeSubscribersForNotification, StatusCode: 500
resource "aws_budgets_budget" "monthly" {
  count = 0
}
