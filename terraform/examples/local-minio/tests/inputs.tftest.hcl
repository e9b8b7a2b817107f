# Plans only: nothing is made.
variables {
  release = false
}

run "a_wrong_bucket_name_is_refused" {
  command = plan
  variables {
    bucket = "Not_A_Bucket"
  }
  expect_failures = [var.bucket]
}

run "the_rights_are_those_of_the_prefix" {
  command = plan
  variables {
    prefix = "two"
  }
  assert {
    condition     = strcontains(output.policy, "arn:aws:s3:::esker-local/two/*") && output.bootstrap == null
    error_message = "The example hands its prefix on, and makes no release unasked."
  }
}
