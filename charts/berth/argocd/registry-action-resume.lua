-- Asks the newest roll-out of a Registry to resume.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["berth.dev/rollout-resume"] = obj.status.rollout.id .. " by Argo CD"
return obj
