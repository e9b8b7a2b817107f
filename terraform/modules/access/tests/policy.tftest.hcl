# Pure: nothing is made.
run "a_prefix_bounds_lists_and_objects" {
  command = plan
  variables {
    bucket = "b"
    prefix = "one/two"
  }
  assert {
    condition     = jsondecode(output.policy).Statement[0].Condition.StringLike["s3:prefix"] == ["one/two/*"]
    error_message = "Lists go below the prefix only."
  }
  assert {
    condition     = jsondecode(output.policy).Statement[1].Resource == ["arn:aws:s3:::b/one/two/*"]
    error_message = "Objects are below the prefix only."
  }
}

run "the_whole_bucket_has_no_condition" {
  command = plan
  variables {
    bucket    = "b"
    partition = "aws-cn"
  }
  assert {
    condition     = !can(jsondecode(output.policy).Statement[0].Condition)
    error_message = "Without a prefix there is nothing to bound."
  }
  assert {
    condition     = jsondecode(output.policy).Statement[1].Resource == ["arn:aws-cn:s3:::b/*"]
    error_message = "The partition is that of the ARNs."
  }
}

run "nothing_but_four_actions" {
  command = plan
  variables {
    bucket = "b"
  }
  assert {
    condition = toset(flatten([for s in jsondecode(output.policy).Statement : s.Action])) == toset([
      "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
    ])
    error_message = "Least privilege."
  }
}
